"""`geventjob stats · top`: the whole engine at a glance. For administrators and viewers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geventjob.cimi.document import Document
from geventjob.cli import columns, jobs, watch
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.screen import height, rendered, span
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST = ("id", "action", "executor", "started", "progress", "message")
"""Columns of the table of running jobs."""
EXECUTORS = ("executor", "host", "running", "takes no jobs")
ACTIONS = ("action", "in", "out", "failed", "p50", "p95", "p99")
RUNNING = 20
"""Running jobs that `stats` and `top` ask for, the longest first."""
AROUND = 12
"""Lines of a terminal that the other parts of `top` take at least."""


def declare(commands: Commands) -> None:
    """Declare the commands."""
    commands.add("stats", stats)
    commands.add("top", top)


@dataclass(frozen=True)
class Overview:
    """The answers of the server about the whole fleet."""

    counts: watch.Counts
    queue: Document
    nodes: list[Document]
    rate: Document
    attention: list[Document]
    running: list[Document]

    @property
    def executors(self) -> list[Document]:
        """The live executors, by name."""
        found = [node for node in self.nodes if node.get("role") == "executor"]
        return sorted(found, key=lambda node: str(node.get("name")))

    def lines(self) -> list[str]:
        """Return the sentences of the head: what needs attention first."""
        slots = sum(node.get("slots", 0) for node in self.executors)
        running = sum(node.get("running", 0) for node in self.executors)
        oldest = span(self.queue.get("oldest"))
        since = f", the first one since {oldest}" if oldest else ""
        return [
            *(f"! {each['text']}" for each in self.attention),
            f"jobs: {self.counts}",
            f"last hour: {_sum(self.rate, 'in')} in, {_sum(self.rate, 'out')} out, {_sum(self.rate, 'failed')} failed; "
            f"last minute: {_last(self.rate, 'in')} in, {_last(self.rate, 'out')} out",
            f"queue: {self.queue.get('entries')} entries, {self.queue.get('taken')} taken{since}",
            f"executors: {len(self.executors)}, {running} of {slots} slots taken",
        ]

    def executor_rows(self) -> list[Sequence[object]]:
        """Return a row for each executor."""
        return [
            (node.get("name"), node.get("host"), f"{node.get('running', 0)}/{node.get('slots')}", _quiet(node))
            for node in self.executors
        ]

    def action_rows(self) -> list[Sequence[object]]:
        """Return a row for each action of the last hour; times in seconds."""
        return [
            (each["action"], each["in"], each["out"], each["failed"],
             *(f"{each[name]:.3g} s" if name in each else None for name in ACTIONS[4:]))
            for each in self.rate["actions"]
        ]  # fmt: skip

    def document(self) -> Document:
        """Return everything for programs."""
        return {"jobs": self.counts.states, "queue": self.queue, "nodes": self.nodes, "rate": self.rate,
                "attention": self.attention, "running": self.running}  # fmt: skip


def overview(context: CommandContext) -> Overview:
    """Ask for everything."""
    client = context.client
    select = ",".join(columns.needed(LONGEST))
    return Overview(
        watch.count(context, None),
        context.ask(client.queue),
        context.ask(client.nodes),
        context.ask(client.rate),
        context.ask(client.attention),
        jobs.search(context, ["state='RUNNING'"], orderby="started:asc", last=RUNNING, select=select)["jobs"],
    )


def stats(context: CommandContext) -> int:
    """Print the figures once."""
    found = overview(context)
    if context.args.json:
        context.screen.document(found.document())
        return ExitCode.SUCCESS
    for line in found.lines():
        context.screen.line(line)
    if rows := found.action_rows():
        context.screen.line("")
        context.screen.table(ACTIONS, rows)
    return ExitCode.SUCCESS


def top(context: CommandContext) -> int:
    """Show the figures, the executors and the jobs that run longest, live until Ctrl-C; elsewhere once."""
    if context.screen.live:
        with contextlib.suppress(KeyboardInterrupt):
            _live(context)
        return ExitCode.SUCCESS
    code = stats(context)
    if not context.args.json:
        found = overview(context)
        context.screen.line("")
        context.screen.table(EXECUTORS, found.executor_rows())
        context.screen.line("")
        jobs.table(context, found.running, LONGEST)
    return code


def _live(context: CommandContext) -> None:
    from rich.live import Live

    with Live(console=context.screen.console, auto_refresh=False, screen=True) as display:
        while True:
            asked = time.monotonic()
            display.update(_picture(overview(context), context.screen.console.width), refresh=True)
            time.sleep(watch.paced(asked, 1.0))


def _picture(found: Overview, width: int) -> RenderableType:
    """Return the picture of a terminal: as many running jobs and executors as there is room for."""
    from rich.console import Group
    from rich.text import Text

    head = found.lines()
    room = max(2, height() - len(head) - AROUND)
    executors, actions = found.executor_rows()[: room // 2], found.action_rows()[:5]
    running = [columns.row(job, LONGEST) for job in found.running[:room]]
    texts = [Text(line, style="bold red" if line.startswith("!") else "") for line in head]
    return Group(*texts, Text(), rendered(EXECUTORS, executors, width), Text(), rendered(ACTIONS, actions, width),
                 Text(), rendered(LONGEST, running, width))  # fmt: skip


def _quiet(node: Document) -> str | None:
    from geventjob.cli.fleet import quiet

    return quiet(node)


def _sum(rate: Document, name: str) -> int:
    return sum(minute.get(name, 0) for minute in rate["minutes"])


def _last(rate: Document, name: str) -> int:
    """Return the number of the last whole minute."""
    minutes = rate["minutes"]
    return int(minutes[-2].get(name, 0)) if len(minutes) > 1 else 0
