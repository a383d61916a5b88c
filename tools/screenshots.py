"""Make the pictures of the page in docs/images: `make screenshots`. Starts a fleet with some jobs, and a browser."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, ViewportSize, sync_playwright

from geventjob import Client
from tests.support.fleet import PASSWORD, Fleet, fleet, until

IMAGES = Path(__file__).parents[1] / "docs/images"
SIZE: ViewportSize = {"width": 1280, "height": 800}
ACTIONS = '''
import logging
import random
import time

from geventjob import action

log = logging.getLogger(__name__)
MESSAGES = ["reading the orders", "checking the stock", "writing the result"]


def work(job, seconds):
    for step in range(10):
        log.info("%s (step %d of 10)", MESSAGES[step * 3 // 10], step + 1)
        time.sleep(seconds / 10)
        job.set_progress(10 * (step + 1))


@action("import_orders", timeout=600, retries=3)
def import_orders(job, shop: str, seconds: float = 0.5):
    """Import the orders of a shop."""
    work(job, seconds)
    return {"orders": random.randint(10, 90)}


@action("send_invoice", timeout=60)
def send_invoice(job, customer: str, api_token: str = ""):
    """Send an invoice by mail."""
    connect("mail.example.org", 587)


@action("resize_images", timeout=300)
def resize_images(job, album: str, seconds: float = 0.3):
    """Resize the images of an album."""
    work(job, seconds)


def connect(host, port):
    raise ConnectionRefusedError(f"{host}:{port} refuses connections")
'''


def jobs() -> Iterator[dict[str, Any]]:
    """Yield jobs that end in several ways, jobs that run, and jobs that wait."""
    for number in range(60):
        yield {"action": "import_orders", "name": f"orders of shop {number}", "payload": {"shop": f"shop/{number}"}}
        yield {"action": "resize_images", "name": f"album {number}", "payload": {"album": f"album/{number}"}}
    for number in range(9):
        payload = {"customer": f"customer/{number}", "api_token": "not shown"}
        yield {"action": "send_invoice", "name": f"invoice {number}", "payload": payload, "tags": ["accounting"]}
    for number in range(12):
        long = {"shop": f"shop/{number}", "seconds": 60}
        yield {"action": "import_orders", "name": f"all orders of shop {number}", "payload": long, "priority": 200}
    for number in range(30):
        yield {"action": "export_ledger", "name": f"ledger {number}", "tags": ["accounting"]}
    yield {"action": "import_orders", "name": "orders of tomorrow", "payload": {"shop": "shop/1"}, "notBefore": "+14h"}


@contextmanager
def business(folder: Path) -> Iterator[Fleet]:
    """Yield a fleet that has run, runs and will run jobs."""
    with fleet(folder) as made:
        (made.actions_dir / "shop.py").write_text(ACTIONS)
        made.server("--name", "server-1")
        for name in ("berlin-1", "berlin-2"):
            made.executor(name, "--threads", "16")
        made.distributor("clock-1", "schedules")
        client = made.client()
        for name, cron, action in (
            ("nightly-import", "0 3 * * *", "import_orders"),
            ("weekly-ledger", "30 6 * * mon", "export_ledger"),
        ):
            client.add("schedule", {"name": name, "cron": cron, "timezone": "Europe/Berlin", "action": action})
        client.bulk_add(jobs())
        until(lambda: _count(client, "state='SUCCESS'") == 120 and _count(client, "state='FAILED'") == 9, 120)
        yield made


@contextmanager
def folder_of_pictures() -> Iterator[Path]:
    """Yield a folder whose name the pictures may show, in tracebacks."""
    folder = Path(tempfile.gettempdir()) / "shop"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _count(client: Client, filter: str) -> int:
    return int(client.search("job", filter=filter, last=0)["count"])


def picture(page: Page, name: str, address: str) -> None:
    """Write the picture of a screen."""
    page.goto(f"{page.url.partition('#')[0]}#/{address}")
    page.locator("main h1").wait_for()
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"page-{name}.png")


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with folder_of_pictures() as folder, business(folder) as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        client = made.client()
        failed = client.search("job", filter="state='FAILED'", last=1)["jobs"][0]["id"]
        running = client.search("job", filter="state='RUNNING'", last=1)["jobs"][0]["id"]
        screens: dict[Literal["light", "dark"], dict[str, str]] = {
            "light": {
                "overview": "overview",
                "jobs": "jobs?tag=accounting&sort=priority",
                "failed-job": failed,
                "fleet": "fleet",
            },
            "dark": {"running-job": running, "actions": "actions"},
        }
        for scheme, names in screens.items():
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(f"{made.url}/ui")
            page.get_by_label("User").fill("super")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("button", name="Log out").wait_for()
            for name, address in names.items():
                picture(page, name, address)
        browser.close()


if __name__ == "__main__":
    main()
