"""`geventjob logs`: the lines that the action of a job has logged."""

from __future__ import annotations

from typing import Any

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Forbidden
from geventjob.cli import jobs
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import MissingOrHidden
from geventjob.cli.watch import Wait
from geventjob.job.states import FINAL

PAUSE = 1.0
"""Seconds between two requests of `--follow`; an executor sends lines each two seconds."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add("logs", logs)
    parser.add_argument("id", metavar="ID", help="job/<uuid>, <uuid>, or its beginning")
    parser.add_argument("-f", "--follow", action="store_true", help="show more lines as they come, until the job ends")


def logs(context: CommandContext) -> int:
    """Print the lines of each attempt, after a line that says which attempt begins."""
    id = jobs.found(context, context.args.id)
    reader = LogReader(context)
    if not context.args.follow:
        found = get(context, id)
        if context.args.json:
            context.screen.document(found)
        else:
            reader.show(found)
        return 0
    with Wait(context, f"{id} has not ended", f"{context.command} logs {id}") as wait:
        while True:
            found = get(context, id)
            reader.show(found)
            if found["state"] in FINAL:
                return 0
            wait.pause(PAUSE)


def get(context: CommandContext, id: str) -> Document:
    """Return the log of a job. Raises NotFound, MissingOrHidden."""
    try:
        return context.ask(context.client.log, id)
    except Forbidden as error:
        raise MissingOrHidden(error.status, f"{id} does not exist, or you may not see it") from None


class LogReader:
    """Prints the log of a job as it grows, each line once; with `--json` the new part of each attempt as a record."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._at = (0, 0)  # attempt, and the bytes of its lines that were printed

    def show(self, log: Document) -> None:
        """Print what is new in a log."""
        for each in log["attempts"]:
            if each["attempt"] >= self._at[0]:
                self._show(each)

    def _show(self, each: dict[str, Any]) -> None:
        attempt, start, data = each["attempt"], each["start"], each["text"].encode()
        begins = attempt != self._at[0]
        printed = 0 if begins else self._at[1]
        new = data[max(0, printed - start) :].decode(errors="replace")
        self._at = (attempt, start + len(data))
        if self._context.args.json:
            if new:
                self._context.screen.record({**each, "start": self._at[1] - len(new.encode()), "text": new})
            return
        if begins:
            self._context.screen.line(f"--- attempt {attempt} on {each['executor']}, {each['at']} ---", "dim")
        if start > printed:
            self._context.screen.line(f"… ({start - printed:,} bytes are not kept)", "dim")
        for line in new.splitlines():
            self._context.screen.line(line)
