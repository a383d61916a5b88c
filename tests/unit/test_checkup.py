"""Findings about a job server of another version, health or clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import geventjob
from geventjob.cimi.client import Client
from geventjob.cli.checkup import server_itself


def lines(health: str, skew: float, version: str = geventjob.__version__) -> list[str]:
    client = cast(Client, SimpleNamespace(health=lambda: (health, skew)))
    return [found.line for found in server_itself("job server http://h", client, version)]


def test_a_server_that_agrees() -> None:
    words = f"ok     job server http://h: answers, version {geventjob.__version__}"
    assert lines("ok", 0.9) == [words, "ok     clock: agrees with the server's"]


def test_a_server_that_differs() -> None:
    version, health, clock = lines("the queue takes no jobs", -31.0, "7.1.0")
    assert version.startswith("wrong  job server http://h: has version 7.1.0, here is ")
    assert health == "wrong  health of the server: the queue takes no jobs. See the log of the server"
    assert clock.startswith("wrong  clock: this machine is 31 s ahead of the clock of the server. Let both follow")
    assert "this machine is 31 s behind the clock" in lines("ok", 31.0)[1]
