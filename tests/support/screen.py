"""Windows of a real browser, Debian's chromium, that look at the page of a server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

from geventjob.cimi.document import COOKIE
from tests.support.fleet import PASSWORD

PATIENCE = 30_000
"""Milliseconds for what a test waits for: the machine may be busy."""
expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser."""
    found = shutil.which("chromium")
    assert found is not None, "tools/prepare tests installs chromium"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


class Screen:
    """One window of the browser. `faults`: errors of scripts, and what the policy of the page has forbidden."""

    def __init__(self, page: Page, url: str, token: str = "") -> None:
        """`token`: the cookie of a session of the administrator."""
        self.page = page
        self.url = url
        self._token = token
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self._hear(line.text))

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "TrustedHTML" in text:
            self.faults.append(text)

    def open(self, address: str = "") -> Page:
        self.page.goto(f"{self.url}/ui{address}")
        return self.page

    def log_in(self, name: str = "super", password: str = PASSWORD, address: str = "") -> Page:
        page = self.open(address)
        page.get_by_label("User").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Log out").wait_for()
        return page

    def enter(self) -> Page:
        """Open the page with the session of the administrator: a log-in by password takes a quarter of a second."""
        self.page.context.add_cookies([{"name": COOKIE, "value": self._token, "url": self.url}])
        self.open()
        self.page.get_by_role("button", name="Log out").wait_for()
        return self.page

    def go(self, address: str) -> Page:
        """Open another address of the page, once the screen has its heading."""
        self.open(f"#/{address}")
        self.page.locator("main h1").wait_for()
        return self.page
