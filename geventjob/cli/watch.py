"""`geventjob watch`, and the waiting of `submit --wait`: jobs as they go on, asked for at a pace that scales."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from geventjob.cimi.document import Document
from geventjob.cli import jobs
from geventjob.cli.context import NO_SUCCESS, WELL, Commands, Context, OutOfTime
from geventjob.cli.screen import STYLES, height, rendered

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two questions about one job."""
SHARE = 10
"""A question about many jobs is asked again after so many times the time that its answer took."""
LONGEST_REST = 5.0
GONE = 10.0
"""Seconds after which jobs that no search finds count as deleted: a search may be a second behind."""
FOLLOWED = ("id", "state", "action", "progress", "statusMessage", "returnCode")
PAGE, FIRST = 200, 20
"""Jobs that `watch` without a terminal looks at each time, and shows of what was there before."""


def declare(commands: Commands) -> None:
    """The command's own arguments."""
    parser = commands.add("watch", watch, "watch a job until it has ended, or all that happens")
    parser.add_argument("id", metavar="ID", nargs="?", help="job/<uuid>, <uuid>, or how it begins; none: all jobs")


def watch(context: Context) -> int:
    """A job to its end, or everything to Ctrl-C."""
    if context.args.id:
        return one(context, jobs.found(context, context.args.id), records=context.args.json)
    with contextlib.suppress(KeyboardInterrupt):
        live(context) if context.screen.live else follow(context)
    return WELL


class Patience:
    """Waiting for jobs: not beyond `--timeout`, if it was given, and with a word on how to go on after its end."""

    def __init__(self, context: Context, unfinished: str, go_on: str) -> None:
        self._context = context
        self._seconds: float | None = context.args.timeout
        self._end = math.inf if self._seconds is None else time.monotonic() + self._seconds
        self._unfinished = unfinished
        self._go_on = go_on

    def __enter__(self) -> Patience:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self._context.screen.note(f"{self._unfinished} and goes on; to see more of it: {self._go_on}")

    def pause(self, seconds: float) -> None:
        """Wait so long, or to the end. Raises OutOfTime."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime(f"{self._unfinished} within {self._seconds:g} s; to see more of it: {self._go_on}")
        time.sleep(min(seconds, left))


# --- one job


def one(context: Context, id: str, records: bool = False) -> int:
    """Show the job until it has ended; 0 if in SUCCESS. `records`: print each change as JSON. Raises OutOfTime."""
    select = None if records else FOLLOWED
    with (
        Patience(context, f"{id} has not ended", f"{context.command} watch {id}") as patience,
        context.screen.progress(100) as update,
    ):
        for job in changes(context, id, select, patience):
            update(job.get("progress", 0), said(job))
            if records:
                context.screen.record(job)
    if context.screen.live:
        jobs.tell(context, job)
    return WELL if job["state"] == "SUCCESS" else NO_SUCCESS


def changes(context: Context, id: str, select: Iterable[str] | None, patience: Patience) -> Iterator[Document]:
    """The job each time that it is seen changed, the last time when it has ended."""
    pause, seen = FIRST_PAUSE, None
    while True:
        job = context.ask(context.client.get, id, select=select)
        if job != seen:
            yield job
        if job["state"] in jobs.FINAL:
            return
        seen = job
        patience.pause(pause)
        pause = min(LONGEST_PAUSE, pause * 1.3)


def said(job: Document) -> str:
    message = job.get("statusMessage")
    return jobs.standing(job) + (f"  {message}" if message else "")


# --- many


@dataclass
class Counts:
    """How many jobs are in which state."""

    states: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        return sum(self.states.get(state, 0) for state in jobs.FINAL)

    @property
    def all(self) -> int:
        return sum(self.states.values())

    def __str__(self) -> str:
        return ", ".join(f"{self.states[state]} {state}" for state in STYLES if self.states.get(state)) or "none"


def count(context: Context, filter: str | None) -> Counts:
    """One search, however many there are."""
    page = context.ask(context.client.search, "job", filter=filter, last=0, aggregation="terms:state")
    buckets = page.get("aggregations", {}).get("terms:state", {}).get("buckets", [])
    return Counts({bucket["key"]: bucket["doc_count"] for bucket in buckets})


def many(context: Context, filter: str, total: int) -> int:
    """Show how `total` jobs that match are getting on until all have ended; 0 if all in SUCCESS. Raises OutOfTime."""
    go_on = f'{context.command} jobs --filter "{filter}"'
    with Patience(context, "not all of it has ended", go_on) as patience, context.screen.progress(total, 5.0) as update:
        whole = time.monotonic()
        while True:
            asked = time.monotonic()
            counts = count(context, filter)
            update(counts.ended, f"{total} jobs: {counts}")
            if counts.all >= total:
                whole = time.monotonic()
            if counts.ended == counts.all and (counts.all >= total or time.monotonic() - whole > GONE):
                break
            patience.pause(paced(asked, 0.2))
    return sum_up(context, filter, counts, total)


def paced(asked: float, least: float) -> float:
    """Seconds until the next question about many jobs, by the time that this one took."""
    return max(least, min(LONGEST_REST, SHARE * (time.monotonic() - asked)))


def sum_up(context: Context, filter: str, counts: Counts, total: int) -> int:
    """What became of them, with the first that did not succeed."""
    if counts.all < total:
        context.screen.note(f"{total - counts.all} of the jobs are not there any more")
    if counts.states.get("SUCCESS", 0) == total:
        return WELL
    if not context.args.json:
        jobs.table(context, jobs.search(context, [filter, "state!='SUCCESS'"], last=10)["jobs"])
    return NO_SUCCESS


# --- everything


def latest(context: Context, last: int) -> list[Document]:
    """The jobs that changed last, the latest first."""
    select = None if context.args.json else ",".join((*jobs.SHOWN, "updated"))
    found: list[Document] = jobs.search(context, [], orderby="updated:desc", last=last, select=select)["jobs"]
    return found


def live(context: Context) -> None:
    """A table of what changed last, in its place on the terminal, until Ctrl-C."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = context.screen.console
    with Live(console=console, auto_refresh=False) as display:
        while True:
            asked = time.monotonic()
            counts = count(context, None)
            rows = [jobs.row(job) for job in latest(context, max(3, height() - 4))]
            display.update(
                Group(Text(f"{counts.all} jobs: {counts}"), rendered(jobs.HEADERS, rows, console.width)), refresh=True
            )
            time.sleep(paced(asked, 1.0))


def follow(context: Context) -> None:
    """A line, or with `--json` a document, for each change of a job that is seen, until Ctrl-C."""
    seen: dict[str, str] | None = None
    while True:
        asked = time.monotonic()
        page = latest(context, PAGE)
        news = page[:FIRST] if seen is None else [job for job in page if seen.get(job["id"]) != job["updated"]]
        for job in reversed(news):
            jobs.tell(context, job)
        seen = {job["id"]: job["updated"] for job in page}
        time.sleep(paced(asked, 0.5))
