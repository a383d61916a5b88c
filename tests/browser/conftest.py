"""A fleet, and a real browser that looks at its page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from geventjob.cimi.document import COOKIE
from tests.support.fleet import PASSWORD, Fleet, fleet
from tests.support.job_server import Caller

HERE = Path(__file__).parent
PATIENCE = 30_000
"""Milliseconds for what a test waits for: the machine may be busy."""
expect.set_options(timeout=PATIENCE)


class Screen:
    """One window of the browser. A script that fails, or that the policy of the page forbids, fails the test."""

    def __init__(self, page: Page, url: str, token: str = "") -> None:
        """`token`: the cookie of a session of the administrator."""
        self.page = page
        self.url = url
        self._token = token
        self.faults: list[str] = []
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Yield Debian's chromium."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "tools/prepare tests installs chromium"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Yield a server and an executor with the actions of this folder."""
    with fleet(tmp_path_factory.mktemp("page")) as made:
        made.server()
        made.executor("worker", actions_dir=HERE / "actions")
        yield made


@pytest.fixture(scope="session")
def token(world: Fleet) -> str:
    """Return the cookie of a session of the administrator."""
    caller = Caller(world.url)
    assert caller.login("super", PASSWORD).status_code == 201
    return str(caller.http.cookies[COOKIE])


@pytest.fixture
def windows(browser: Browser, world: Fleet, token: str) -> Iterator[Callable[..., Screen]]:
    """Yield a function that opens a window, which shares nothing with others. The options are Playwright's."""
    made: list[tuple[BrowserContext, Screen]] = []

    def make(**options: Any) -> Screen:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        made.append((context, Screen(context.new_page(), world.url, token)))
        return made[-1][1]

    yield make
    for context, _ in made:
        context.close()
    assert [fault for _, screen in made for fault in screen.faults] == []


@pytest.fixture
def page(windows: Callable[..., Screen]) -> Page:
    """Return a window with a session of the administrator."""
    return windows().enter()
