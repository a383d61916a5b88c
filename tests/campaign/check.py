"""The checker: what must hold whatever fails, one function for each row of the table. Each returns what it found."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from geventjob.job.states import FINAL
from tests.campaign.evidence import Evidence, Outage, Run

MAX_INTERRUPTIONS = 5
"""Default of `--max-interruptions`."""
TAKEOVER = 2.0
"""Seconds after the session timeout within which the jobs of a dead executor run elsewhere."""
LOGGED = re.compile(r"attempt (\d+) at ([\d.]+)")
EVERY = 3
"""Seconds between two ticks of the schedule."""
TAKEN_OVER = "takeovers later than allowed"
SETTLING = 4.0
"""Seconds after an outage for which its effects may last: connections and leaders come back."""

Found = Iterator[str]


def never_ended(evidence: Evidence) -> Found:
    """Find jobs that the server has accepted and lost, or that have not ended."""
    for id, line in evidence.added.items():
        job = evidence.jobs.get(id)
        if job is None:
            yield f"{id} ({line['kind']}) was answered 201 and is not on the server"
        elif job["state"] not in FINAL:
            yield f"{id} ({line['kind']}) is {job['state']}: {job.get('held')}"
    for id, job in evidence.jobs.items():
        if id not in evidence.added and job["state"] not in FINAL:
            yield f"{id} of an add without an answer, or of a tick, is {job['state']}: {job.get('held')}"


def written_late(evidence: Evidence) -> Found:
    """Find calls and log lines of a run that the server has accepted after the next run had begun."""
    for earlier, later in _successions(evidence):
        for at in earlier.writes:
            if at > later.begin:
                yield f"{_name(earlier)} wrote {at - later.begin:.3f} s after {_name(later)} had begun"
    for id, log in evidence.logs.items():
        begins = {run.attempt: run.begin for run in evidence.runs.get(id, [])}
        for attempt in log["attempts"]:
            for writer, at in LOGGED.findall(attempt["text"]):
                if int(writer) != attempt["attempt"]:
                    yield f"{id}: the log of attempt {attempt['attempt']} has a line of attempt {writer}"
                if any(float(at) > begin for number, begin in begins.items() if number > int(writer)):
                    yield f"{id}: a line that attempt {writer} logged after the next one had begun was kept"
    for runs in evidence.runs.values():
        for run in runs:
            if run.checkpoint >= run.attempt:
                yield f"{_name(run)} began with the checkpoint of attempt {run.checkpoint}"


def overlapping(evidence: Evidence) -> Found:
    """Find runs of one job that went on for longer than the session timeout beside the next, and runs that began
    twice."""
    yield from evidence.twice
    for earlier, later in _successions(evidence):
        beside = [at for at in earlier.beats if at >= later.begin]
        if beside and beside[-1] - beside[0] > evidence.session + evidence.stalled(beside[0], beside[-1]):
            yield f"{_name(earlier)} went on for {beside[-1] - beside[0]:.1f} s beside {_name(later)}"


def unexplained(evidence: Evidence) -> Found:
    """Find final states that no run, stop or predecessor explains."""
    for id, line in evidence.added.items():
        job = evidence.jobs.get(id)
        if job is None or job["state"] not in FINAL or _given_up(job):
            continue
        state, expected = job["state"], _expected(evidence, id)
        if state not in expected:
            wanted = " or ".join(sorted(expected))
            yield f"{id} ({line['kind']}) is {state}, expected {wanted}: {job.get('statusMessage')}"
        outcomes = {run.attempt: run.outcome for run in evidence.runs.get(id, [])}
        last = outcomes.get(job.get("attempts", 0), "")
        if state == "SUCCESS" and last != "end":
            yield f"{id} ({line['kind']}) is SUCCESS after attempt {job.get('attempts')}, whose last line is {last!r}"
        if state == "SUCCESS" and (job.get("output") or {}).get("attempt") != job.get("attempts"):
            yield f"{id} is SUCCESS of attempt {job.get('attempts')} with the output {job.get('output')}"
        if state == "FAILED" and "failed" not in outcomes.values() and not _waits(line):
            yield f"{id} ({line['kind']}) is FAILED and no run has failed: {job.get('statusMessage')}"


def _given_up(job: dict[str, object]) -> bool:
    interruptions = job.get("interruptions", 0)
    return job["state"] == "FAILED" and isinstance(interruptions, int) and interruptions >= MAX_INTERRUPTIONS


def _has_expired(evidence: Evidence, id: str) -> bool:
    """Return whether a job that may expire did so before a run could end."""
    kind, message = evidence.added.get(id, {}).get("kind"), evidence.jobs.get(id, {}).get("statusMessage")
    return kind == "expiring" and "expired" in str(message)


def _waits(line: dict[str, object]) -> bool:
    return line["kind"] in ("after", "batch")


def _expected(evidence: Evidence, id: str) -> set[str]:
    """Return the states in which a job may end."""
    line = evidence.added[id]
    expected = {"SUCCESS"}
    if line["kind"] == "failing":
        expected = {"FAILED"} if line["fail"] > line["retries"] else {"SUCCESS"}
    elif _has_expired(evidence, id):
        expected = {"STOPPED"}
    elif line["kind"] == "after" and line["after"]["whenFailed"] != "run":
        before = [evidence.jobs.get(each, {}).get("state") for each in line["after"]["jobs"]]
        ends = {"fail": "FAILED", "stop": "STOPPED"}
        expected = {"SUCCESS"} if set(before) == {"SUCCESS"} else {ends[line["after"]["whenFailed"]]}
    elif line["kind"] == "batch" and evidence.jobs.get(id, {}).get("batch", {}).get("failed"):
        expected = {"FAILED"}
    return expected | ({"STOPPED"} if id in evidence.stops else set())


def retried_wrongly(evidence: Evidence) -> Found:
    """Find jobs that were tried again too often or too rarely."""
    for id, line in evidence.added.items():
        job = evidence.jobs.get(id, {})
        if line["kind"] != "failing" or job.get("state") not in FINAL:
            continue
        retried, wanted = job.get("retried", 0), min(line["fail"], line["retries"])
        if retried > wanted or (retried < wanted and not _given_up(job)):
            yield f"{id} was tried again {retried} times, expected {wanted}"
        failed = sum(run.outcome == "failed" for run in evidence.runs.get(id, []))
        if failed < retried:
            yield f"{id} was tried again {retried} times after {failed} failures"


def limits_exceeded(evidence: Evidence) -> Found:
    """Find accounts of which more jobs ran at once than the limit allows, and keys that two jobs had at once."""
    changes: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    most: dict[str, int] = {}
    for id, line in evidence.added.items():
        if "group" in line:
            most[line["group"]] = line["most"]
            for begin, end in _spans(evidence, id):
                changes[line["group"]] += [(begin, 1, id), (end, -1, id)]
    for group, steps in changes.items():
        running: Counter[str] = Counter()
        for at, step, id in sorted(steps):
            running[id] += step
            here = [each for each, count in running.items() if count > 0]
            if step > 0 and len(here) > most[group]:
                yield f"{group}: {len(here)} ran at {at:.3f}, {most[group]} may: {', '.join(sorted(here))}"


def _spans(evidence: Evidence, id: str) -> Iterator[tuple[float, float]]:
    """Yield from when to when the runs of a job were seen, each until the next at most."""
    runs = evidence.runs.get(id, [])
    for run, later in zip(runs, [*runs[1:], None], strict=True):
        end = run.last_sign(evidence.session / 2)
        yield run.begin, end if later is None else max(run.begin, min(end, later.begin))


def begun_too_early(evidence: Evidence) -> Found:
    """Find jobs that began before the jobs that they come after had ended, and callbacks that began before their
    batch."""
    ends = {id: max(end for _, end in _spans(evidence, id)) for id in evidence.runs}
    for id, line in evidence.added.items():
        before = line["after"]["jobs"] if line["kind"] == "after" else []
        if line["kind"] == "batch":
            before = [each for each, job in evidence.jobs.items() if job.get("parentJob") == id]
            if len(before) != line["total"]:
                yield f"{id}: the batch has {len(before)} jobs, {line['total']} were added"
        begins = [run.begin for run in evidence.runs.get(id, [])]
        for each in before:
            if begins and ends.get(each, 0.0) > min(begins):
                yield f"{id} began {ends[each] - min(begins):.3f} s before {each} had ended"


def left_over(evidence: Evidence) -> Found:
    """Find entries, taken nodes, messages and keys that are left over."""
    yield from evidence.left


def processes_failed(evidence: Evidence) -> Found:
    """Find processes that hung, crashed or needed SIGKILL."""
    yield from evidence.processes


@dataclass(frozen=True)
class Takeover:
    """A run that an executor's death has cut off, and the seconds until the job ran again; None if it did not."""

    run: Run
    seconds: float | None
    allowed: float


def takeovers(evidence: Evidence) -> list[Takeover]:
    """Return the takeovers after deaths of executors beside which nothing else failed."""
    found = []
    for outage in evidence.outages:
        end = outage.begin + evidence.session + TAKEOVER
        if outage.kind == "kill" and outage.target.startswith("executor") and _alone(evidence, outage.begin, end):
            found += [_takeover(evidence, run, outage.begin) for run in _cut_off(evidence, outage.target, outage.begin)]
    return found


def _alone(evidence: Evidence, begin: float, end: float) -> bool:
    """Return whether one fault alone had an effect on jobs in this time."""
    others = [each for each in evidence.outages if not each.target.startswith("distributor") and each.kind != "clock"]
    return sum(each.begin < end and each.over + _settling(each) > begin for each in others) == 1


def _settling(outage: Outage) -> float:
    return 20.0 if outage.target == "elasticsearch" else SETTLING  # its JVM starts for long


def _cut_off(evidence: Evidence, executor: str, at: float) -> Iterator[Run]:
    """Yield the first runs of jobs on an executor that were seen shortly before a time, and not afterwards."""
    for id, runs in evidence.runs.items():
        run = runs[0]
        there = f"{run.executor}-".startswith(f"{executor}-")  # a name in use gets a number
        paused = evidence.added.get(id, {}).get("kind") == "limited"  # perhaps, and for longer where clocks were set
        ours = (
            there
            and not paused
            and not _has_expired(evidence, id)
            and run.attempt == 1
            and run.begin < at
            and not run.outcome
            and id not in evidence.stops
        )
        if ours and at - run.last_sign(evidence.session) < evidence.session / 2:
            yield run


def _takeover(evidence: Evidence, run: Run, at: float) -> Takeover:
    later = [each.begin for each in evidence.runs[run.job] if each.attempt > run.attempt]
    allowed = evidence.session + TAKEOVER
    return Takeover(run, min(later) - at if later else None, allowed + evidence.stalled(at, at + allowed))


def taken_over_late(evidence: Evidence) -> Found:
    """Find jobs of dead executors that ran elsewhere later than the session timeout and TAKEOVER allow."""
    for each in takeovers(evidence):
        if each.seconds is None:
            yield f"{_name(each.run)} was cut off and the job never ran again"
        elif each.seconds > each.allowed:
            yield f"{_name(each.run)} was cut off, and ran again after {each.seconds:.2f} s"


def ticks_wrong(evidence: Evidence) -> Found:
    """Find ticks that made two jobs, and ticks that made none.

    The distributor catches up on all that it misses; the schedule, of a tick each EVERY seconds, on the last alone: a
    gap needs a fault, or is short: a slow server collapses ticks, too.
    """
    ticks = Counter(job["payload"]["tick"] for job in evidence.jobs.values() if job.get("name") == "ticking")
    fired = Counter(job["idempotencyKey"] for job in evidence.jobs.values() if job.get("name") == "scheduled")
    yield from (f"the tick {tick} made {count} jobs" for tick, count in (ticks + fired).items() if count > 1)
    missed = sorted(set(range(min(ticks), max(ticks))) - set(ticks)) if ticks else []
    if missed:
        yield f"{len(missed)} ticks made no job: {', '.join(map(str, missed[:20]))}"
    if not ticks or not fired:
        yield f"{len(ticks)} ticks of the distributor and {len(fired)} of the schedule made a job"
    times = sorted(int(key.rpartition("@")[2]) / 1000 - evidence.since for key in fired)
    for earlier, later in pairwise(times):
        allowed = EVERY + evidence.session + TAKEOVER + evidence.stalled(earlier, later)
        if later - earlier > allowed and not _away(evidence, earlier, later):
            yield f"the schedule made no job for {later - earlier:.0f} s, and nothing was away"


def _away(evidence: Evidence, begin: float, end: float) -> bool:
    """Return whether a fault may have kept leader and server apart in this time."""
    others = [each for each in evidence.outages if not each.target.startswith("executor") or each.kind == "pool"]
    return any(each.begin < end and each.over + _settling(each) > begin for each in others)


def _successions(evidence: Evidence) -> Iterator[tuple[Run, Run]]:
    """Yield each run with the next run of its job."""
    for runs in evidence.runs.values():
        yield from pairwise(runs)


def _name(run: Run) -> str:
    return f"attempt {run.attempt} of {run.job} on {run.executor}"


ROWS: dict[str, Callable[[Evidence], Found]] = {
    "adds answered 201 that have not ended": never_ended,
    "writes of a former owner after the next one began": written_late,
    "runs of one job beside each other": overlapping,
    "final states that nothing explains": unexplained,
    "retries too many or too few": retried_wrongly,
    "limits exceeded, keys doubled": limits_exceeded,
    "jobs begun before what they come after": begun_too_early,
    "entries, nodes, messages, keys left over": left_over,
    "processes that hung or crashed": processes_failed,
    TAKEN_OVER: taken_over_late,
    "ticks doubled or missed": ticks_wrong,
}
"""Row of the table → the function that finds what breaks it."""


def checked(evidence: Evidence) -> dict[str, list[str]]:
    """Return what breaks each row; empty lists if all holds."""
    return {row: list(find(evidence)) for row, find in ROWS.items()}
