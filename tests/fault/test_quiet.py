"""Quiet, resume and stop of real executors, and the bound of their memory: no job is lost, none runs twice."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from geventjob.cimi.errors import Conflict, NotFound
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, ended, until
from tests.support.noted import Notes, add

SESSION = ("--session-timeout", "3")
ONE_IS_ENOUGH = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""For tests in which the coordination plays no part."""


def node(client: Client, name: str) -> dict[str, Any]:
    return next((one for one in client.nodes() if one["name"] == name), {})


def state(client: Client, name: str) -> str | None:
    found: str | None = node(client, name).get("quiet", {}).get("state")
    return found


def cli(engine: Fleet) -> Cli:
    return Cli(None, GEVENTJOB_SS_URL=engine.url, GEVENTJOB_SS_USER="super", GEVENTJOB_SS_PASS=PASSWORD)


def test_a_quiet_executor_takes_nothing_and_goes_on_with_its_job(engine: Fleet, notes: Notes) -> None:
    engine.server()
    mute = engine.executor("mute")
    client, command = engine.client(), cli(engine)
    notes.close("mute")
    (running,) = add(client, notes, 1, "gated")
    until(lambda: notes.jobs("begin") == [running])
    assert command("executors", "quiet", "mute", "--why", "a new disk").stdout == "mute  is quiet\n"
    waiting = add(client, notes, 5, "noted")
    assert node(client, "mute")["quiet"]["why"] == "super: a new disk"
    assert re.search(r"quiet for \d+ s: super: a new disk", command("nodes").stdout)
    assert command("why", waiting[0]).stdout == (
        "Each executor with the action takes no more jobs: mute (super: a new disk).\n"
    )
    other = engine.executor("other")
    assert all(job["executor"] == "other" for job in ended(client, waiting).values())
    command("executors", "stop", "other")
    assert other.wait() == 0
    (more,) = add(client, notes, 1, "noted")
    notes.open("mute")
    assert ended(client, [running])[running]["attempts"] == 1
    assert client.get(more)["state"] == "QUEUED"
    command("executors", "resume", "--all")
    assert ended(client, [more])[more]["executor"] == "mute"
    assert "quiet" not in node(client, "mute")
    assert mute.running


def test_executors_that_fall_silent_again_and_again_lose_no_job_and_double_none(engine: Fleet, notes: Notes) -> None:
    engine.server()
    names = ("left", "right")
    for name in names:
        engine.executor(name, "--threads", "5")
    client, dice = engine.client(), random.Random(7)
    ids: list[str] = []
    for _ in range(25):
        ids += add(client, notes, 8, "noted")
        client.order_executor(dice.choice(names), dice.choice(("quiet", "resume")))
    for name in names:
        client.order_executor(name, "resume")
    jobs = ended(client, ids).values()
    assert {(job["state"], job["attempts"]) for job in jobs} == {("SUCCESS", 1)}
    assert sorted(notes.jobs("begin")) == sorted(ids)


def test_what_a_silent_executor_has_taken_in_the_last_moment_runs_elsewhere(engine: Fleet, notes: Notes) -> None:
    """The executor is frozen while it waits for entries: take and order are both there when it goes on."""
    engine.server()
    mute = engine.executor("mute", "--threads", "3")
    client = engine.client()
    with engine.in_no_transaction():
        mute.freeze()
    ids = add(client, notes, 3, "noted")
    client.order_executor("mute", "quiet")
    mute.thaw()
    until(lambda: state(client, "mute") == "quiet")
    engine.executor("other")
    jobs = ended(client, ids).values()
    assert {(job["state"], job["attempts"]) for job in jobs} == {("SUCCESS", 1)}
    assert sorted(notes.jobs("begin")) == sorted(ids)


def test_a_stop_drains_and_ends_no_later_process_of_this_name(engine: Fleet, notes: Notes) -> None:
    engine.server()
    first = engine.executor("mortal", *SESSION)
    client = engine.client()
    notes.close("mortal")
    (running,) = add(client, notes, 1, "gated")
    until(lambda: notes.jobs("begin") == [running])
    client.order_executor("mortal", "stop")
    client.order_executor("mortal", "stop")  # is no second signal
    until(lambda: state(client, "mortal") == "draining")
    assert node(client, "mortal")["quiet"]["why"] == "super"
    with pytest.raises(Conflict, match="executor/mortal drains"):
        client.order_executor("mortal", "resume")
    notes.open("mortal")
    assert first.wait() == 0
    job = ended(client, [running])[running]
    assert (job["state"], job["attempts"]) == ("SUCCESS", 1)

    second = engine.executor("mortal", *SESSION)
    engine.freeze(second)
    client.order_executor("mortal", "stop")
    second.kill()
    with pytest.raises(NotFound, match="the nearest names: none"):
        until(lambda: client.order_executor("mortal", "quiet").get("never"))
    third = engine.executor("mortal", *SESSION)
    until(lambda: "ignored an order to an earlier process: stop" in third.log)
    (more,) = add(client, notes, 1, "noted")
    assert ended(client, [more])[more]["state"] == "SUCCESS"
    assert third.stop() == 0


@ONE_IS_ENOUGH
def test_an_executor_above_its_memory_drains_and_says_why(engine: Fleet, notes: Notes) -> None:
    engine.server()
    hungry = engine.executor("hungry", "--max-rss", "180m")
    client = engine.client()
    notes.close("hungry")
    (fat,) = add(client, notes, 1, "eats_memory")
    until(lambda: state(client, "hungry") == "draining")
    assert "is above max-rss, 180 MB" in node(client, "hungry")["quiet"]["why"]
    (other,) = add(client, notes, 1, "noted")
    notes.open("hungry")
    assert hungry.wait() == 0
    assert ended(client, [fat])[fat]["state"] == "SUCCESS"
    assert client.get(other)["state"] == "QUEUED"
    assert "WARNING" in next(line for line in hungry.log.splitlines() if "is above max-rss" in line)


@ONE_IS_ENOUGH
def test_the_bound_of_the_memory_is_read_again(tmp_path: Path, engine: Fleet) -> None:
    engine.server()
    ini = tmp_path / "executor.ini"
    ini.write_text("max-rss = 2g\n")
    process = engine.executor("bounded", "-c", str(ini))
    ini.write_text("max-rss = 1m\n")
    process.signal(signal.SIGHUP)
    assert process.wait() == 0
    assert "changed: --max-rss" in process.log
    again = engine.start_executor("bounded", "-c", str(ini))
    assert again.wait() == 2
    assert "geventjob-executor: before the first job its memory," in again.log


@ONE_IS_ENOUGH
def test_an_order_to_a_name_that_does_not_live(engine: Fleet) -> None:
    engine.server()
    for name in ("worker-1", "worker-2"):
        engine.executor(name)
    command = cli(engine)
    line = "geventjob: no live executor is named 'worker1'; the nearest names: worker-1, worker-2"
    assert command("executors", "quiet", "worker1", "worker-2", code=2).stderr == line + "\n"
    assert state(engine.client(), "worker-2") == "quiet"
    assert "name executors, or give --all" in command.wrong("executors", "resume")
    assert "name executors, or give --all" in command.wrong("executors", "resume", "worker-2", "--all")
