"""`geventjob watch` and `submit --wait`: jobs as they change, polled less often the longer an answer takes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from geventjob.cimi.document import Document
from geventjob.cli import columns, jobs
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import WaitTimedOut
from geventjob.cli.screen import STYLES, height, rendered
from geventjob.exit_code import ExitCode
from geventjob.job.states import FINAL

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two requests about one job."""
SHARE = 10
"""The pause after a search for many jobs, as a multiple of the time that its answer took."""
LONGEST_REST = 5.0
"""Seconds."""
GONE = 10.0
"""Seconds after which jobs that no search finds count as deleted: a search may lag a second."""
FOLLOWED = ("id", "state", "action", "progress", "statusMessage", "returnCode", "held", "batch")
PAGE, FIRST = 200, 20
"""Jobs that `watch` without a terminal compares each time, and jobs from before its start that it prints."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add("watch", watch)
    parser.add_argument("id", metavar="ID", nargs="?", help="job/<uuid>, <uuid>, or its beginning; without it all jobs")


def watch(context: CommandContext) -> int:
    """Watch a job to its end, or all jobs until Ctrl-C."""
    if context.args.id:
        return one(context, jobs.found(context, context.args.id), records=context.args.json)
    with contextlib.suppress(KeyboardInterrupt):
        live(context) if context.screen.live else follow(context)
    return ExitCode.SUCCESS


class Wait:
    """A wait for jobs that ends with `--timeout` or Ctrl-C, with a hint how to go on."""

    def __init__(self, context: CommandContext, unfinished: str, go_on: str) -> None:
        """Set the texts: what has not ended, and the command that shows more."""
        self._context = context
        self._seconds: float | None = context.args.timeout
        self._end = math.inf if self._seconds is None else time.monotonic() + self._seconds
        self._unfinished = unfinished
        self._go_on = go_on

    def __enter__(self) -> Wait:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self._context.screen.note(f"{self._unfinished} and goes on; to see more of it: {self._go_on}")

    def pause(self, seconds: float) -> None:
        """Sleep, not beyond the end of `--timeout`. Raises WaitTimedOut once it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise WaitTimedOut(f"{self._unfinished} within {self._seconds:g} s; to see more of it: {self._go_on}")
        time.sleep(min(seconds, left))


# --- one job


def one(context: CommandContext, id: str, records: bool = False) -> int:
    """Show a job until it has ended, and return the exit code; `records`: each change as JSON. Raises WaitTimedOut."""
    select = None if records else FOLLOWED
    with (
        Wait(context, f"{id} has not ended", f"{context.command} watch {id}") as wait,
        context.screen.progress(100) as update,
    ):
        for job in changes(context, id, select, wait):
            if not records and gathers(job):
                counts = count(context, f"parentJob='{id}'")
                update(100 * counts.ended // max(1, counts.all), gathering(job, counts))
                continue
            update(job.get("progress", 0), said(job))
            if records:
                context.screen.record(job)
    if context.screen.live:
        jobs.tell(context, job)
    return ExitCode.SUCCESS if job["state"] == "SUCCESS" else ExitCode.FAILURE


def changes(context: CommandContext, id: str, select: Iterable[str] | None, wait: Wait) -> Iterator[Document]:
    """Yield the job at each change that is seen, the last time when the job has ended."""
    pause, seen = FIRST_PAUSE, None
    while True:
        job = jobs.get(context, id, select)
        if job != seen or gathers(job):
            yield job
        if job["state"] in FINAL:
            return
        seen = job
        wait.pause(pause)
        pause = min(LONGEST_PAUSE, pause * 1.3)


def gathers(job: Document) -> bool:
    """Return whether a job is a callback that waits for the jobs of its batch."""
    return "batch" in job and job["state"] == "QUEUED" and job.get("held", {}).get("why") == "batch"


def gathering(job: Document, counts: Counts) -> str:
    """Return how far the batch of a callback is."""
    is_open = ", and more may be added" if job["batch"]["open"] else ""
    return f"{columns.standing(job)}  {counts.ended} of {counts.all} jobs of the batch have ended ({counts}){is_open}"


def said(job: Document) -> str:
    """Return state, progress and message of a job."""
    message = job.get("statusMessage")
    return columns.standing(job) + (f"  {message}" if message else "")


# --- many


@dataclass
class Counts:
    """Numbers of jobs by state."""

    states: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """The number of jobs in a final state."""
        return sum(self.states.get(state, 0) for state in FINAL)

    @property
    def all(self) -> int:
        """The number of jobs."""
        return sum(self.states.values())

    def __str__(self) -> str:
        return ", ".join(f"{self.states[state]} {state}" for state in STYLES if self.states.get(state)) or "none"


def count(context: CommandContext, filter: str | None) -> Counts:
    """Count the jobs that match, by state, in one search."""
    page = context.ask(context.client.search, "job", filter=filter, last=0, aggregation="terms:state")
    buckets = page.get("aggregations", {}).get("terms:state", {}).get("buckets", [])
    return Counts({bucket["key"]: bucket["doc_count"] for bucket in buckets})


def many(context: CommandContext, filter: str, total: int) -> int:
    """Show the progress of `total` matching jobs until all have ended; return the exit code. Raises WaitTimedOut."""
    go_on = f'{context.command} jobs --filter "{filter}"'
    with Wait(context, "not all jobs have ended", go_on) as wait, context.screen.progress(total, 5.0) as update:
        whole = time.monotonic()
        while True:
            asked = time.monotonic()
            counts = count(context, filter)
            update(counts.ended, f"{total} jobs: {counts}")
            if counts.all >= total:
                whole = time.monotonic()
            if counts.ended == counts.all and (counts.all >= total or time.monotonic() - whole > GONE):
                break
            wait.pause(paced(asked, 0.2))
    return sum_up(context, filter, counts, total)


def paced(asked: float, least: float) -> float:
    """Return the seconds until the next search for many jobs, by the time that this search took."""
    return max(least, min(LONGEST_REST, SHARE * (time.monotonic() - asked)))


def sum_up(context: CommandContext, filter: str, counts: Counts, total: int) -> int:
    """Print jobs that are gone and the first jobs without success, and return the exit code."""
    if counts.all < total:
        context.screen.note(f"{total - counts.all} of the jobs no longer exist")
    if counts.states.get("SUCCESS", 0) == total:
        return ExitCode.SUCCESS
    if not context.args.json:
        jobs.table(context, jobs.search(context, [filter, "state!='SUCCESS'"], last=10)["jobs"])
    return ExitCode.FAILURE


# --- everything


def latest(context: CommandContext, last: int) -> list[Document]:
    """Return the jobs that changed last, the latest first."""
    select = None if context.args.json else ",".join((*columns.needed(columns.USUAL), "updated"))
    found: list[Document] = jobs.search(context, [], orderby="updated:desc", last=last, select=select)["jobs"]
    return found


def live(context: CommandContext) -> None:
    """Show a live table of the jobs that changed last, until Ctrl-C."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = context.screen.console
    with Live(console=console, auto_refresh=False) as display:
        while True:
            asked = time.monotonic()
            counts = count(context, None)
            rows = [columns.row(job) for job in latest(context, max(3, height() - 4))]
            display.update(
                Group(Text(f"{counts.all} jobs: {counts}"), rendered(columns.USUAL, rows, console.width)), refresh=True
            )
            time.sleep(paced(asked, 1.0))


def follow(context: CommandContext) -> None:
    """Print a line, or with `--json` a document, for each change of a job, until Ctrl-C."""
    seen: dict[str, str] | None = None
    while True:
        asked = time.monotonic()
        page = latest(context, PAGE)
        changed = page[:FIRST] if seen is None else [job for job in page if seen.get(job["id"]) != job["updated"]]
        for job in reversed(changed):
            jobs.tell(context, job)
        seen = {job["id"]: job["updated"] for job in page}
        time.sleep(paced(asked, 0.5))
