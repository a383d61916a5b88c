"""`geventjob executors quiet · resume · stop`: orders to live executors. For administrators."""

from __future__ import annotations

import time

from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError, explain
from geventjob.exit_code import ExitCode

LOOK = 0.1
"""Seconds between two looks for the effect of an order."""
HELP = {
    "quiet": "let executors take no more jobs; running jobs go on",
    "resume": "let quiet executors take jobs again",
    "stop": "let executors take no more jobs, and end when their jobs have ended, as after SIGTERM",
}
DONE = {"quiet": "is quiet", "resume": "takes jobs", "stop": "drains, or has ended"}


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    add = commands.add_subcommands(commands.add("executors", ordered), required=True, dest="order")
    for order, help in HELP.items():
        command = add(order, ordered, help)
        command.add_argument("names", nargs="*", metavar="NAME", help="name of a live executor (geventjob nodes)")
        command.add_argument("--all", action="store_true", help="all live executors")
        command.add_argument("--why", metavar="TEXT", help="the reason, which `geventjob nodes` shows")


def ordered(context: CommandContext) -> int:
    """Send an order to executors, and wait until each has carried the order out."""
    args = context.args
    if bool(args.names) == args.all:
        raise UsageError(f"executors {args.order}: name executors, or give --all")
    before = live(context)
    names = sorted(before) if args.all else list(dict.fromkeys(args.names))
    codes = [told(context, name) for name in names]
    waited = {name: before.get(name, {}) for name, code in zip(names, codes, strict=True) if not code}
    codes.append(awaited(context, waited))
    return next((code for code in codes if code), ExitCode.SUCCESS)


def live(context: CommandContext) -> dict[str, Document]:
    """Return the live executors by name."""
    nodes = context.ask(context.client.nodes)
    return {str(node["name"]): node for node in nodes if node.get("role") == "executor"}


def told(context: CommandContext, name: str) -> ExitCode:
    """Send the order to one executor, and print a line for a failure. Return the exit code."""
    try:
        context.ask(context.client.order_executor, name, context.args.order, context.args.why)
    except NotFound as error:
        context.screen.note(error.message)
        return ExitCode.USAGE
    except CimiError as error:
        code, words = explain(error, context.patience)
        context.screen.note(words)
        return code
    return ExitCode.SUCCESS


def awaited(context: CommandContext, waited: dict[str, Document]) -> ExitCode:
    """Wait until each executor has carried the order out, and print a line for each. Return the exit code."""
    order, until = context.args.order, time.monotonic() + context.patience
    while waited:
        now = live(context)
        for name in [name for name, before in waited.items() if is_done(order, before, now.get(name))]:
            del waited[name]
            if context.args.json:
                context.screen.record({"name": name, "order": order})
            else:
                context.screen.line(f"{name}  {DONE[order]}")
        if waited and time.monotonic() > until:
            context.screen.note(f"no answer in {context.patience:g} s, the order stands: {', '.join(waited)}")
            return ExitCode.TIMEOUT
        time.sleep(LOOK if waited else 0)
    return ExitCode.SUCCESS


def is_done(order: str, before: Document, now: Document | None) -> bool:
    """Return whether an executor, announced as `before` the order, has carried it out or is gone."""
    if now is None or (before and before.get("since") != now.get("since")):
        return True
    state = now.get("quiet", {}).get("state")
    return bool({"quiet": state is not None, "resume": state != "quiet", "stop": state == "draining"}[order])
