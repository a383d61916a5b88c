"""A plugin for pytest, with the fixture `rehearse`: `pytest_plugins = ["geventjob.testing.plugin"]` in conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from geventjob.plugins import Actions, find_actions
from geventjob.testing.rehearsal import Rehearsal, named

OPTION = "geventjob_actions_dir"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option of the ini file."""
    parser.addini(OPTION, "folders with actions (default: actions, beside the ini file)", type="paths")


@pytest.fixture(scope="session")
def geventjob_actions(pytestconfig: pytest.Config) -> Actions:
    """Return the shipped actions and those of the folders of `geventjob_actions_dir`, which are searched once."""
    usual = pytestconfig.rootpath / "actions"
    folders = pytestconfig.getini(OPTION) or [usual] * usual.is_dir()
    return find_actions([str(folder) for folder in folders], unsafe=True)


@pytest.fixture
def rehearse(geventjob_actions: Actions) -> Callable[..., Rehearsal]:
    """Return a function that makes a `Rehearsal`, of an action or of a name in `geventjob_actions`."""

    def make(action: Any, payload: Any = None, **options: Any) -> Rehearsal:
        return Rehearsal(named(geventjob_actions, action) if isinstance(action, str) else action, payload, **options)

    return make
