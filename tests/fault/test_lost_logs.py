"""The logs of jobs whose executor dies or is cut off: the lines of both attempts, in order."""

from __future__ import annotations

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Way, ended, until
from tests.support.http_proxy import HttpProxy
from tests.support.noted import Notes, add

SESSION = ("--session-timeout", "3")


def lines(client: Client, id: str) -> list[tuple[int, str, list[str]]]:
    """Return attempt, executor and the messages of each attempt."""
    return [
        (each["attempt"], each["executor"], [line.partition("faults ")[2] for line in each["text"].splitlines()])
        for each in client.log(id)["attempts"]
    ]


@pytest.mark.parametrize("end", ["killed", "frozen"])
def test_the_lines_of_an_executor_that_is_gone_stay_before_those_of_the_next(
    engine: Fleet, notes: Notes, end: str
) -> None:
    engine.server(*SESSION)
    client = engine.client()
    notes.close("one", "two")
    first = engine.executor("one", *SESSION)
    [id] = add(client, notes, 1, "talks_at_a_gate")
    begun = (1, "one", ["attempt 1 begins"])
    until(lambda: lines(client, id) == [begun])
    if end == "killed":
        first.kill()
    else:
        engine.freeze(first)
    engine.executor("two", *SESSION)
    until(lambda: lines(client, id) == [begun, (2, "two", ["attempt 2 begins"])])
    if end == "frozen":
        first.thaw()
        until(lambda: notes.count("lost") == 1)
        until(lambda: "attempt 1 was lost" in first.log)
        [record] = until(lambda: client.record(id)["records"])
        assert (record["attempt"], record["executor"], record["why"]) == (1, "one", "loss")
        assert record["session"].startswith("over")
        assert "attempt 1 was lost" in record["lines"]
        assert "in talks_at_a_gate" in record["stack"]
    notes.open("two")
    assert ended(client, [id])[id]["state"] == "SUCCESS"
    until(lambda: lines(client, id) == [begun, (2, "two", ["attempt 2 begins", "attempt 2 ends"])])


def test_an_outcome_whose_answer_was_lost_brings_its_lines_once(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    client = engine.client()
    way = HttpProxy(engine.port)
    try:
        hold = way.hold_answer(b"attempt 1 ends")
        engine.start_executor("one", *SESSION, way=Way(way.url, engine.zk_hosts))
        engine.await_nodes("one")
        [id] = add(client, notes, 1, "talks_at_a_gate")
        until(hold.reached.is_set)
        both = [(1, "one", ["attempt 1 begins", "attempt 1 ends"])]
        until(lambda: lines(client, id) == both)
        assert client.queue()["entries"] == 1, "the outcome is stored, and the executor does not know"
        hold.drop()
        until(lambda: client.queue()["entries"] == 0)
        assert lines(client, id) == both
    finally:
        way.close()
