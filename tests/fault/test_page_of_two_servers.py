"""The page over Elasticsearch with two servers: a change through one is seen at the other, and survives its death."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from geventjob import Client
from tests.support.fleet import PASSWORD
from tests.support.pair import Pair
from tests.support.screen import Screen, chromium

ACTION = '''
from geventjob import action

@action("fail")
def fail(job, text: str):
    """Fail with a text."""
    raise ValueError(text)
'''
SCREENS = {
    "overview": "Jobs per minute",
    "jobs": "through the other",
    "failures": "shop.py",
    "actions": "fail",
    "fleet": "worker",
    "audit": "stopped",
}
"""Each screen, with a text that the screen shows by then."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    (made.actions_dir / "shop.py").write_text(ACTION)
    yield made
    made.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_a_walk_through_the_page(pair: Pair, browser: Browser) -> None:
    first, second = pair.start_servers()
    pair.url = pair.reaching(1)
    pair.executor("worker", "--session-timeout", "3")
    context = browser.new_context()
    screen = Screen(context.new_page(), pair.urls[0])
    page = screen.log_in(address="#/jobs?tag=walk")
    expect(page.get_by_text("No job matches.")).to_be_visible()
    other = Client(pair.urls[1], "super", PASSWORD)
    other.add(
        "job", {"action": "fail", "name": "through the other", "tags": ["walk"], "payload": {"text": "as it must"}}
    )
    rows = page.get_by_role("region", name="Table of jobs").locator("tbody tr")
    expect(rows).to_contain_text("FAILED")
    waits = other.add("job", {"action": "fail", "name": "waits", "tags": ["walk"], "notBefore": "+1h"})
    rows.filter(has_text="waits").get_by_role("checkbox").check()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop 1 job").click()
    expect(rows.filter(has_text="waits")).to_contain_text("STOPPED")
    assert other.get(waits)["state"] == "STOPPED"
    for address, text in SCREENS.items():
        screen.go(address)
        expect(page.locator("main").get_by_text(text).first).to_be_attached()
    first.kill()
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_text("the job server is out of reach")).to_be_visible()
    page = Screen(page, pair.urls[1]).open("#/jobs?tag=walk")
    expect(rows).to_have_count(2)
    assert second.running
    assert screen.faults == []
    context.close()
