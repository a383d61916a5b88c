"""A fleet, and a real browser that looks at its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from geventjob.cimi.document import COOKIE
from tests.support.fleet import PASSWORD, Fleet, fleet
from tests.support.job_server import Caller
from tests.support.screen import Screen, chromium

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


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
    """Yield a function that opens a window, which shares nothing with others. The options are Playwright's.

    A script that fails, or that the policy of the page forbids, fails the test.
    """
    made: list[tuple[BrowserContext, Screen]] = []

    def make(**options: Any) -> Screen:
        context = browser.new_context(**options)
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
