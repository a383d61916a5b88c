"""`geventjob limits set · list · delete`: how many jobs of an action may run at once. For administrators."""

from __future__ import annotations

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Invalid, NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.config import nearest
from geventjob.config.kinds import seconds, whole
from geventjob.exit_code import ExitCode

MOST = 1_000_000
"""Largest number of a limit."""


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    add = commands.add_subcommands(commands.add("limits", listed))

    add("list", listed, "list limits")
    command = add("set", changed, "make a limit, or replace one; jobs that wait already obey")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--action", metavar="A", required=True, help="the action whose jobs are limited")
    command.add_argument(
        "--per", metavar="PATH", help="count for each value of this attribute by itself, as payload.account"
    )
    command.add_argument("--running", type=whole(1, MOST), metavar="N", help="at most N jobs run at once")
    command.add_argument("--starts", type=whole(1, MOST), metavar="N", help="at most N jobs start in --each SECONDS")
    command.add_argument("--each", type=seconds, metavar="SECONDS", help="with --starts")
    add("delete", deleted, "delete a limit; jobs that wait for it pass").add_argument("name", metavar="NAME")


def listed(context: CommandContext) -> int:
    """List limits."""
    limits = context.ask(context.client.limits)
    if context.args.json:
        context.screen.document(limits)
        return ExitCode.SUCCESS
    rows = [
        (one["name"], one["action"], one.get("per"), one.get("running"), one.get("starts"), one.get("each"))
        for one in limits
    ]
    context.screen.table(("name", "action", "per", "running", "starts", "each"), rows)
    return ExitCode.SUCCESS


def changed(context: CommandContext) -> int:
    """Make or replace a limit. Raises UsageError."""
    args = context.args
    if args.running is None and args.starts is None:
        raise UsageError("limits set: name --running N, --starts N with --each SECONDS, or both")
    if (args.starts is None) != (args.each is None):
        raise UsageError("limits set: --starts N and --each SECONDS go together")
    numbers = {"per": args.per, "running": args.running, "starts": args.starts, "each": args.each}
    try:
        limit = context.ask(context.client.set_limit, args.name, args.action, **numbers)
    except Invalid as error:
        raise UsageError(f"limits set: {error}") from None
    if context.args.json:
        context.screen.document(limit)
    context.screen.line(f"{limit['name']}  {told(limit)}")
    return ExitCode.SUCCESS


def deleted(context: CommandContext) -> int:
    """Delete a limit. Raises UsageError."""
    name = context.args.name
    try:
        context.ask(context.client.delete_limit, name)
    except NotFound:
        known = [limit["name"] for limit in context.ask(context.client.limits)]
        told = nearest(name, known) or f": `{context.command} limits` lists them"
        raise UsageError(f"there is no limit {name}{told}") from None
    if context.args.json:
        context.screen.document({"id": f"limit/{name}"})
    context.screen.line(f"{name}  deleted")
    return ExitCode.SUCCESS


def told(limit: Document) -> str:
    """Return a limit in words: `charge: at most 5 run, for each payload.account`."""
    numbers = [f"at most {limit['running']} run"] if "running" in limit else []
    if "starts" in limit:
        numbers.append(f"at most {limit['starts']} start within {limit['each']:g} s")
    per = f", for each {limit['per']}" if "per" in limit else ""
    return f"{limit['action']}: {' and '.join(numbers)}{per}"
