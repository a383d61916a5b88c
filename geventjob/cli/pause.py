"""`geventjob pause · resume`: let the jobs of an action wait before the queue. For administrators."""

from __future__ import annotations

from geventjob.cimi.document import ALL_ACTIONS, Document
from geventjob.cimi.errors import NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.config import nearest
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the commands and their arguments."""
    pauses = commands.add("pause", pause)
    pauses.add_argument("action", nargs="?", metavar="ACTION", help="the action to pause; without, list the pauses")
    pauses.add_argument("--all", action="store_true", help="pause all actions")
    pauses.add_argument("--until", metavar="WHEN", help="end of the pause: a date with its zone, or +90s, +2h, +3d")
    pauses.add_argument("--why", metavar="TEXT", help="the reason, for people to see")
    ends = commands.add("resume", resume)
    ends.add_argument("action", nargs="?", metavar="ACTION", help="the action that was paused")
    ends.add_argument("--all", action="store_true", help="end the pause of all actions; those of single actions stay")


def pause(context: CommandContext) -> int:
    """Pause an action or all, or list the pauses. Raises UsageError."""
    args = context.args
    if args.action is None and not args.all:
        if args.until or args.why:
            raise UsageError("pause what? name an action, or give --all")
        return listed(context)
    made = context.ask(context.client.pause, _action(context), why=args.why, until=args.until)
    if args.json:
        context.screen.document(made)
        return ExitCode.SUCCESS
    context.screen.line(described(made))
    if args.action is not None:
        _warn(context, args.action)
    return ExitCode.SUCCESS


def listed(context: CommandContext) -> int:
    """List the pauses."""
    found = context.ask(context.client.pauses)
    if context.args.json:
        context.screen.document(found)
        return ExitCode.SUCCESS
    if not found:
        context.screen.note("nothing is paused")
    rows = [(each["action"], each["by"], each["since"], each.get("until"), each.get("why")) for each in found]
    context.screen.table(("action", "by", "since", "until", "why"), rows)
    return ExitCode.SUCCESS


def resume(context: CommandContext) -> int:
    """End a pause. Raises UsageError for an action that is not paused."""
    action = _action(context)
    try:
        did = context.ask(context.client.resume, action)
    except NotFound:
        told = "all actions were" if action == ALL_ACTIONS else f"{action} was"
        known = [pause["action"] for pause in context.ask(context.client.pauses)]
        meant = nearest(action, known) or f": `{context.command} pause` lists the pauses"
        raise UsageError(f"{told} not paused{meant}") from None
    if context.args.json:
        context.screen.document(did)
        return ExitCode.SUCCESS
    context.screen.line(f"{did['resource-id']}  ended")
    for other in context.ask(context.client.pauses):
        if other["action"] == ALL_ACTIONS or action == ALL_ACTIONS:
            context.screen.note(f"still paused: {described(other)}")
    return ExitCode.SUCCESS


def described(pause: Document) -> str:
    """Return a pause in one line: what, by whom, since when, until when, and why."""
    what = "all actions are" if pause["action"] == ALL_ACTIONS else f"{pause['action']} is"
    until = f" until {pause['until']}" if "until" in pause else ""
    why = f": {pause['why']}" if "why" in pause else ""
    return f"{what} paused by {pause['by']} since {pause['since']}{until}{why}"


def _action(context: CommandContext) -> str:
    """Return the action that the command line names. Raises UsageError."""
    action, all = context.args.action, context.args.all
    if (action is None) != all:
        raise UsageError(f"{'an action or --all, not both' if all else 'name an action, or give --all'}")
    return ALL_ACTIONS if action is None else str(action)


def _warn(context: CommandContext, action: str) -> None:
    """Warn of an action that no executor announces: it may be misspelt."""
    known = {name for node in context.ask(context.client.nodes) for name in node.get("actions", ())}
    if action not in known:
        told = nearest(action, known) or f": see {context.command} actions"
        context.screen.note(f"warning: no executor announces the action {action!r}{told}")
