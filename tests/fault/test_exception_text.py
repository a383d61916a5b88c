"""Jobs whose actions fail with exceptions without a text, or write text that is no UTF-8: one run, and an outcome."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet, ended
from tests.support.noted import Notes

MESSAGES = {
    "exits": "Exits: (its text cannot be had)",
    "sleeps": "Sleeps: (its text cannot be had)",
    "raises": "ValueError: caf\ufffd",
    "says": "caf\ufffd",
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # the executor's business alone
def test_what_cannot_be_told_ends_its_job_after_one_run(engine: Fleet, notes: Notes) -> None:
    engine.server()
    executor = engine.executor("one")
    client = engine.client()
    jobs = [{"action": "cannot_be_told", "payload": {"file": str(notes.path), "how": how}} for how in MESSAGES]
    ids = [id for id in client.bulk_add(jobs) if isinstance(id, str)]
    found = ended(client, ids)
    assert [found[id]["statusMessage"] for id in ids] == list(MESSAGES.values())
    assert [found[id]["state"] for id in ids] == ["FAILED", "FAILED", "FAILED", "SUCCESS"]
    assert sorted(notes.jobs("begin")) == sorted(ids), "each must have run once"
    assert found[ids[3]]["properties"]["file"] == "caf\ufffd"
    assert executor.running
    assert "in cannot_be_told" in executor.log
