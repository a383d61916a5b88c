"""Scenarios in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from gevent import Greenlet
from gevent.pool import Pool


def run(name: str, *args: str, code: int = 0, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.watching", name, *args], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == code, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def answer(name: str, *args: str) -> Any:
    """Run a scenario and return its result; the process must have ended well."""
    return json.loads(run(name, *args).stdout)


class Answers:
    """The results of several scenarios, each a name and its arguments.

    The first question starts all of them, three at a time, since scenarios mostly wait.
    """

    def __init__(self, *scenarios: str) -> None:
        self._scenarios = scenarios
        self._pool = Pool(3)
        self._greenlets: dict[str, Greenlet[..., Any]] = {}

    def __getitem__(self, scenario: str) -> Any:
        if not self._greenlets:
            self._greenlets = {each: self._pool.spawn(answer, *each.split()) for each in self._scenarios}
        return self._greenlets[scenario].get()
