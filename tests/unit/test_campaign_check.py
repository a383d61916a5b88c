"""The checker of the campaign finds each breach in a record that is made up, and nothing in a good record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.campaign.check import ROWS, checked, takeovers
from tests.campaign.evidence import Evidence, Outage, gathered
from tests.campaign.record import Line

SESSION = 3.0


class Record:
    """The record of a good campaign, which a test then spoils."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        for tick in (100, 101, 102):
            self.jobs[f"job/tick-{tick}"] = {"name": "ticking", "state": "SUCCESS", "payload": {"tick": tick}}
            self.fire(800 + 3 * tick)

    def line(self, what: str, at: float, **more: Any) -> None:
        self.lines.append({"what": what, "at": at, **more})

    def fire(self, second: int) -> None:
        """Add the job of a tick of the schedule."""
        key = f"schedule/scheduled@{second}000"
        self.jobs[f"job/{key}"] = {"name": "scheduled", "state": "SUCCESS", "idempotencyKey": key}

    def add(self, id: str, kind: str = "plain", **said: Any) -> None:
        self.line("added", 0.0, wall=1000.0, job=id, kind=kind, **said)
        self.jobs[id] = {"state": "SUCCESS", "attempts": 1, "output": {"attempt": 1}, "retried": 0, "interruptions": 0}

    def run(
        self, id: str, begin: float, end: float, *, attempt: int = 1, outcome: str = "end", on: str = "executor-0"
    ) -> None:
        """Record a run with a beat each tenth of a second, of which each third is a write."""
        who = {"job": id, "attempt": attempt, "executor": on}
        self.line("begin", begin, checkpoint=attempt - 1, **who)
        for beat in range(int((end - begin) * 10)):
            self.line("beat", begin + beat / 10, **who)
            if beat % 3 == 0:
                self.line("wrote", begin + beat / 10, **who)
        if outcome:
            self.line(outcome, end, **who)
        self.jobs[id] |= {"attempts": attempt, "output": {"attempt": attempt}}

    def evidence(self) -> Evidence:
        evidence = gathered(sorted(self.lines, key=lambda line: line["at"]), SESSION)
        evidence.jobs = self.jobs
        return evidence


@pytest.fixture
def record() -> Record:
    """Return a record with a job of each kind, one of which an executor's death has interrupted."""
    made = Record()
    made.add("job/plain")
    made.run("job/plain", 1, 2)
    made.add("job/failing", "failing", fail=1, retries=2)
    made.run("job/failing", 1, 1.2, outcome="failed")
    made.run("job/failing", 2, 2.2, attempt=2)
    made.jobs["job/failing"] |= {"retried": 1}
    made.add("job/one", "limited", group="account a", most=1)
    made.run("job/one", 1, 2)
    made.add("job/two", "limited", group="account a", most=1)
    made.run("job/two", 2.1, 3)
    made.add("job/next", "after", after={"jobs": ["job/plain"], "whenFailed": "fail"})
    made.run("job/next", 2.5, 3)
    made.add("job/batch", "batch", total=1)
    made.jobs["job/batch"] |= {"batch": {"total": 1, "failed": 0}}
    made.jobs["job/child"] = {"state": "SUCCESS", "parentJob": "job/batch"}
    made.run("job/child", 1, 2)
    made.run("job/batch", 3, 3.5)
    made.add("job/moved")
    made.run("job/moved", 9, 10, outcome="", on="executor-1")
    made.line("over", 12.0, kind="kill", target="executor-1", begun=10.0)
    made.run("job/moved", 13, 14, attempt=2)
    return made


def rows(record: Record, change: Callable[[Evidence], object] = lambda _: None) -> dict[str, list[str]]:
    """Return what the checker finds, by the rows that do not hold."""
    evidence = record.evidence()
    change(evidence)
    return {row: found for row, found in checked(evidence).items() if found}


def only(found: dict[str, list[str]], row: str, *words: str) -> None:
    """Check that this row alone does not hold, with these words in what was found."""
    assert row in ROWS
    assert list(found) == [row], found
    for word in words:
        assert word in "\n".join(found[row])


def test_nothing_is_found_in_a_good_record(record: Record) -> None:
    assert rows(record) == {}
    [takeover] = takeovers(record.evidence())
    assert (takeover.run.job, takeover.seconds) == ("job/moved", 3.0)


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "STOPPING"])
def test_a_job_that_has_not_ended(record: Record, state: str) -> None:
    record.jobs["job/plain"] |= {"state": state}
    found = rows(record)
    assert "adds answered 201 that have not ended" in found
    record.jobs["job/plain"] |= {"state": "SUCCESS"}
    record.jobs["job/unanswered"] = {"state": state}
    only(rows(record), "adds answered 201 that have not ended", "job/unanswered")


def test_a_job_that_is_gone(record: Record) -> None:
    record.add("job/gone")
    del record.jobs["job/gone"]
    only(rows(record), "adds answered 201 that have not ended", "job/gone", "not on the server")


def test_a_write_of_a_former_owner(record: Record) -> None:
    record.line("wrote", 13.4, job="job/moved", attempt=1, executor="executor-1")
    only(rows(record), "writes of a former owner after the next one began", "0.400 s")


def test_a_line_in_the_log_of_a_former_owner(record: Record) -> None:
    good = {"attempts": [{"attempt": 1, "text": "attempt 1 at 9.5"}, {"attempt": 2, "text": "attempt 2 at 13.5"}]}
    assert rows(record, lambda evidence: evidence.logs.update({"job/moved": good})) == {}
    late = {"attempts": [{"attempt": 1, "text": "attempt 1 at 9.5\nattempt 1 at 13.5"}]}
    found = rows(record, lambda evidence: evidence.logs.update({"job/moved": late}))
    only(found, "writes of a former owner after the next one began", "was kept")
    mixed = {"attempts": [{"attempt": 2, "text": "attempt 1 at 9.5"}]}
    found = rows(record, lambda evidence: evidence.logs.update({"job/moved": mixed}))
    only(found, "writes of a former owner after the next one began", "has a line of attempt 1")


def test_a_checkpoint_of_a_later_run(record: Record) -> None:
    found = rows(record, lambda evidence: setattr(evidence.runs["job/moved"][1], "checkpoint", 2))
    only(found, "writes of a former owner after the next one began", "checkpoint")


def test_runs_beside_each_other(record: Record) -> None:
    for beat in (13.2, 14.0, 15.0, 16.0):
        record.line("beat", beat, job="job/moved", attempt=1, executor="executor-1")
    assert rows(record) == {}, "a lost run may go on for the session timeout"
    record.line("beat", 16.3, job="job/moved", attempt=1, executor="executor-1")
    only(rows(record), "runs of one job beside each other", "3.1 s")
    record.line("stall", 15.0, seconds=1.0)
    assert rows(record) == {}, "the machine itself was late"


def test_a_run_that_began_twice(record: Record) -> None:
    record.line("begin", 13.1, job="job/moved", attempt=2, executor="executor-3", checkpoint=0)
    found = rows(record)
    assert "executor-3" in "\n".join(found["runs of one job beside each other"])


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("job/plain", {"state": "FAILED"}),
        ("job/plain", {"state": "STOPPED"}),
        ("job/plain", {"attempts": 2, "output": {"attempt": 2}}),
        ("job/plain", {"output": None}),
        ("job/moved", {"attempts": 1}),
        ("job/next", {"state": "FAILED"}),
        ("job/batch", {"batch": {"total": 1, "failed": 1}}),
    ],
)
def test_a_final_state_that_nothing_explains(record: Record, id: str, change: dict[str, Any]) -> None:
    record.jobs[id] |= change
    only(rows(record), "final states that nothing explains", id)


def test_final_states_that_are_explained(record: Record) -> None:
    record.add("job/ended")
    record.run("job/ended", 1, 2, outcome="stopped")
    record.jobs["job/ended"] |= {"state": "STOPPED"}
    record.line("stop", 1.9, job="job/ended")
    record.add("job/expired", "expiring")
    record.jobs["job/expired"] |= {"state": "STOPPED", "statusMessage": "expired"}
    record.add("job/given-up")
    record.jobs["job/given-up"] |= {"state": "FAILED", "interruptions": 5}
    record.add("job/failed", "failing", fail=3, retries=0)
    record.run("job/failed", 1, 2, outcome="failed")
    record.jobs["job/failed"] |= {"state": "FAILED"}
    record.add("job/behind", "after", after={"jobs": ["job/failed"], "whenFailed": "fail"})
    record.jobs["job/behind"] |= {"state": "FAILED", "attempts": 0}
    assert rows(record) == {}


@pytest.mark.parametrize("retried", [0, 2])
def test_retries(record: Record, retried: int) -> None:
    record.jobs["job/failing"] |= {"retried": retried}
    only(rows(record), "retries too many or too few", f"{retried} times, expected 1")


def test_a_retry_without_a_failure(record: Record) -> None:
    record.lines = [line for line in record.lines if line["what"] != "failed"]
    only(rows(record), "retries too many or too few", "after 0 failures")


def test_a_limit_that_is_exceeded(record: Record) -> None:
    record.add("job/three", "limited", group="account a", most=1)
    record.run("job/three", 2.9, 3.5)
    only(rows(record), "limits exceeded, keys doubled", "2 ran at 2.900", "job/three, job/two")


def test_a_lost_run_counts_no_longer_than_it_was_seen(record: Record) -> None:
    record.add("job/frozen", "limited", group="account b", most=1)
    record.run("job/frozen", 1, 2, outcome="lost")
    record.lines[-1]["at"] = 20.0
    record.add("job/after", "limited", group="account b", most=1)
    record.run("job/after", 7, 8)
    record.jobs["job/frozen"] |= {"state": "STOPPED"}
    record.line("stop", 3.0, job="job/frozen")
    assert rows(record) == {}


def test_jobs_that_begin_too_early(record: Record) -> None:
    record.add("job/early", "after", after={"jobs": ["job/plain"], "whenFailed": "fail"})
    record.run("job/early", 1.9, 3)
    only(rows(record), "jobs begun before what they come after", "job/early began 0.100 s before job/plain")


def test_a_callback_without_all_of_its_batch(record: Record) -> None:
    record.jobs["job/straggler"] = {"state": "SUCCESS", "parentJob": "job/batch"}
    only(rows(record), "jobs begun before what they come after", "2 jobs, 1 were added")
    del record.jobs["job/straggler"]
    record.lines = [line | {"at": line["at"] + 1.5 * (line.get("job") == "job/child")} for line in record.lines]
    only(rows(record), "jobs begun before what they come after", "job/batch began")


def test_what_is_left_over_and_what_hung(record: Record) -> None:
    found = rows(record, lambda evidence: evidence.left.append("/job/taken/entry-1"))
    only(found, "entries, nodes, messages, keys left over", "entry-1")
    record.line("exited", 5.0, process="server-0", code=1, log="Traceback")
    only(rows(record), "processes that hung or crashed", "server-0 ended by itself with 1")


@pytest.mark.parametrize(
    ("at", "log", "found"),
    [
        (11.0, "CRITICAL 7 geventjob.server [-] Elasticsearch at host:1: refused\n", False),
        (41.0, "CRITICAL 7 geventjob.server [-] Elasticsearch at host:1: refused\n", False),
        (9.0, "CRITICAL 7 geventjob.server [-] Elasticsearch at host:1: refused\n", True),
        (43.0, "CRITICAL 7 geventjob.server [-] Elasticsearch at host:1: refused\n", True),
        (11.0, "CRITICAL 7 geventjob.server [-] Elasticsearch at host:1: refused\nTraceback", True),
    ],
)
def test_a_server_that_starts_while_its_store_is_away(record: Record, at: float, log: str, found: bool) -> None:
    record.line("over", 12.0, kind="kill", target="elasticsearch", begun=10.0)
    record.line("exited", at, process="server-0", code=1, log=f"… {log}")
    assert ("processes that hung or crashed" in rows(record)) is found


@pytest.mark.parametrize("later", [3.3, None])
def test_a_takeover_that_is_late(record: Record, later: float | None) -> None:
    second = [line for line in record.lines if line.get("job") == "job/moved" and line.get("attempt") == 2]
    for line in second:
        line["at"] += later or 0
        if later is None:
            record.lines.remove(line)
    if later is None:
        record.jobs["job/moved"] |= {"state": "FAILED", "interruptions": 5}
    only(rows(record), "takeovers later than allowed", "6.30 s" if later else "never ran again")


@pytest.mark.parametrize(("message", "late"), [("expired", False), (None, True)])
def test_a_job_that_expires_may_do_so_before_its_takeover(record: Record, message: str | None, late: bool) -> None:
    record.lines[:] = [
        line for line in record.lines if not (line.get("job") == "job/moved" and line.get("attempt") == 2)
    ]
    [added] = [line for line in record.lines if line["what"] == "added" and line["job"] == "job/moved"]
    added["kind"] = "expiring"
    record.jobs["job/moved"] |= {"state": "STOPPED", "statusMessage": message}
    assert ("takeovers later than allowed" in rows(record)) is late


def test_takeovers_beside_another_fault_are_not_measured(record: Record) -> None:
    evidence = record.evidence()
    evidence.outages.append(Outage("freeze", "zookeeper-0", 3.0, 6.5))
    assert takeovers(evidence) == []


def test_ticks(record: Record) -> None:
    record.jobs["job/again"] = {"name": "ticking", "state": "SUCCESS", "payload": {"tick": 101}}
    only(rows(record), "ticks doubled or missed", "the tick 101 made 2 jobs")
    del record.jobs["job/again"], record.jobs["job/tick-101"]
    only(rows(record), "ticks doubled or missed", "1 ticks made no job: 101")
    record.jobs = {id: job for id, job in record.jobs.items() if job.get("name") is None}
    only(rows(record), "ticks doubled or missed", "0 ticks of the distributor and 0 of the schedule")


def test_ticks_of_a_schedule(record: Record) -> None:
    record.jobs["job/again"] = record.jobs["job/schedule/scheduled@1103000"]
    only(rows(record), "ticks doubled or missed", "the tick schedule/scheduled@1103000 made 2 jobs")
    del record.jobs["job/again"]
    record.fire(1118)
    only(rows(record), "ticks doubled or missed", "no job for 12 s, and nothing was away")
    record.line("over", 109.0, kind="freeze", target="executor-0", begun=107.0)
    only(rows(record), "ticks doubled or missed", "no job for 12 s, and nothing was away")
    record.line("over", 109.0, kind="freeze", target="zookeeper-0", begun=107.0)
    assert rows(record) == {}
