"""The evidence of a campaign: its record as runs, adds and faults, and what the server and the queue say at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.record import Line

Document = dict[str, Any]
STORE_START = 30.0
"""Seconds in which a killed Elasticsearch is ready again after its process was started."""
DONE = ("end", "failed", "stopped")
"""Lines of a run that has ended by itself; `lost` is the line of a run that was ended since another may follow."""


@dataclass
class Run:
    """One run of a job, as the action recorded it; times on the monotonic clock."""

    job: str
    attempt: int
    executor: str
    begin: float
    checkpoint: int = 0
    """The attempt that had left the checkpoint which this run found; 0 without one."""
    beats: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    """Beginnings of calls of the job that the server has accepted."""
    outcome: str = ""
    """`end`, `failed`, `stopped`, `lost`; empty for a run that was killed."""
    ended: float = 0.0

    def last_sign(self, gap: float) -> float:
        """Return when the run was seen last, before any silence longer than `gap` seconds (its process was frozen)."""
        times = [self.begin, *self.beats] + ([self.ended] if self.outcome in DONE else [])
        last = times[0]
        for time in times[1:]:
            if time - last > gap:
                break
            last = time
        return last


@dataclass(frozen=True)
class Outage:
    """A fault that was carried out, until its part had been put right."""

    kind: str
    target: str
    begin: float
    over: float


@dataclass
class Evidence:
    """All that the checker reads."""

    session: float
    """The session timeout, seconds."""
    since: float = 0.0
    """The wall clock when the monotonic clock was 0."""
    added: dict[str, Line] = field(default_factory=dict)
    """Id of a job → the line of the client whose add was answered 201."""
    stops: dict[str, float] = field(default_factory=dict)
    """Id of a job → when a client asked for its stop."""
    runs: dict[str, list[Run]] = field(default_factory=dict)
    """Id of a job → its runs, by the number of the attempt."""
    twice: list[str] = field(default_factory=list)
    """Runs that began with the number of an earlier run of the job, in words."""
    outages: list[Outage] = field(default_factory=list)
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """When, and for how many seconds, the machine itself let a thread wait that had nothing to do but wake."""
    jobs: dict[str, Document] = field(default_factory=dict)
    """Id → document, of all jobs on the server at the end."""
    logs: dict[str, Document] = field(default_factory=dict)
    """Id of a job of several runs → its log as the server keeps it."""
    left: list[str] = field(default_factory=list)
    """Entries, nodes and keys that are left over, in words."""
    processes: list[str] = field(default_factory=list)
    """Processes that hung or ended without being asked to, in words."""

    def stalled(self, begin: float, end: float) -> float:
        """Return the seconds that the machine lost between two times."""
        return sum(seconds for at, seconds in self.stalls if begin <= at <= end + seconds)


def gathered(lines: Iterable[Line], session: float) -> Evidence:
    """Return the evidence that the lines of a record hold; the server's part is still empty."""
    evidence = Evidence(session)
    runs: dict[tuple[str, int], Run] = {}
    exits: list[Line] = []
    for line in lines:
        what = line["what"]
        if "attempt" in line:
            _of_run(evidence, runs, line)
        elif what == "added":
            evidence.added[line["job"]] = line
            evidence.since = line["wall"] - line["at"]
        elif what == "stop":
            evidence.stops[line["job"]] = line["at"]
        elif what == "over":
            evidence.outages.append(Outage(line["kind"], line["target"], line["begun"], line["at"]))
        elif what == "stall":
            evidence.stalls.append((line["at"], line["seconds"]))
        elif what == "exited":
            exits.append(line)
    evidence.processes += [
        f"{line['process']} ended by itself with {line['code']}: {line['log']}"
        for line in exits
        if not _found_no_store(line, evidence.outages)
    ]
    for run in runs.values():
        evidence.runs.setdefault(run.job, []).append(run)
    for each in evidence.runs.values():
        each.sort(key=lambda run: run.attempt)
    return evidence


def _found_no_store(exited: Line, outages: list[Outage]) -> bool:
    """Return whether a server ended since Elasticsearch was away at its start: its service starts it again."""
    away = any(
        each.target == "elasticsearch" and each.begin <= exited["at"] <= each.over + STORE_START for each in outages
    )
    last = exited["log"].rstrip().rpartition("\n")[2]
    return away and exited["code"] == 1 and " CRITICAL " in last and "Elasticsearch at " in last


def _of_run(evidence: Evidence, runs: dict[tuple[str, int], Run], line: Line) -> None:
    """Add the line of an action to its run."""
    key, what, at = (line["job"], line["attempt"]), line["what"], line["at"]
    if what == "begin":
        if key in runs:
            evidence.twice.append(f"{key[0]}: attempt {key[1]} began on {runs[key].executor} and {line['executor']}")
        runs[key] = Run(*key, line["executor"], at, line["checkpoint"])
        return
    run = runs[key]
    if what in ("beat", "wrote"):
        (run.beats if what == "beat" else run.writes).append(at)
    else:
        run.outcome, run.ended = what, at
