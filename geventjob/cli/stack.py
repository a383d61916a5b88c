"""`geventjob stack`: where a running job is now, as its executor tells."""

from __future__ import annotations

import time
from typing import Any

from geventjob.cli import jobs
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.record import print_record
from geventjob.exit_code import ExitCode

ANSWER = 10.0
"""Seconds within which an executor is to answer."""
EACH = 0.1
"""Seconds between two looks for the answer."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add("stack", stack)
    parser.add_argument("id", metavar="ID", help="job/<uuid>, <uuid>, or its beginning")


def stack(context: CommandContext) -> int:
    """Ask the executor of a running job for its stack, and print the record that comes back."""
    id = jobs.found(context, context.args.id)
    jobs.get(context, id, select=["state"])
    asked = context.ask(context.client.stack, id)
    record = answer(context, id, asked["request"])
    if record is None:
        context.screen.note(
            f"{asked['executor']} has not answered within {ANSWER:g} s: the job has ended, or it is busy"
        )
        return ExitCode.FAILURE
    if context.args.json:
        context.screen.document(record)
    else:
        print_record(context.screen, record)
    return ExitCode.SUCCESS


def answer(context: CommandContext, id: str, request: str) -> dict[str, Any] | None:
    """Return the record that answers the request; None if there is none in time."""
    until = time.monotonic() + ANSWER
    while time.monotonic() < until:
        for record in context.ask(context.client.record, id)["records"]:
            if record.get("request") == request:
                found: dict[str, Any] = record
                return found
        time.sleep(EACH)
    return None
