"""`geventjob sessions`: the sessions of the user, with which browsers and programs are logged in."""

from __future__ import annotations

from typing import Any

from geventjob.cimi.errors import Forbidden, NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.cli.screen import age
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    add = commands.add_subcommands(commands.add("sessions", listed))

    listing = add("list", listed, "list your sessions; an administrator sees all sessions")
    end = add("end", ended, "end sessions: whoever uses one must log in again")
    end.add_argument("sessions", nargs="*", metavar="ID")
    for command in (listing, end):
        command.add_argument("--user", metavar="USER", help="all sessions of this user, but the one of this command")


def listed(context: CommandContext) -> int:
    """List the sessions that the user may see, the newest first, without the one of this command."""
    sessions = others(context)
    if context.args.json:
        context.screen.document(sessions)
        return ExitCode.SUCCESS
    rows = [
        (
            session.get("id"),
            session.get("username"),
            session.get("method"),
            session.get("address"),
            age(session.get("created")),
            session.get("expiry"),
        )
        for session in sessions
    ]
    context.screen.table(("id", "user", "log-in", "address", "age", "ends"), rows)
    return ExitCode.SUCCESS


def ended(context: CommandContext) -> int:
    """End sessions, and print a line for each. Raises UsageError for a session that does not exist."""
    args = context.args
    if bool(args.sessions) == bool(args.user):
        raise UsageError("sessions end: name sessions, or give --user")
    for id in [session["id"] for session in others(context)] if args.user else map(named, args.sessions):
        try:
            context.ask(context.client.delete, id)
        except NotFound:
            raise UsageError(f"there is no session {id}") from None
        except Forbidden as error:
            raise UsageError(f"there is no session {id} that you may end: {error}") from None
        if context.args.json:
            context.screen.record({"id": id})
        else:
            context.screen.line(f"{id}  ended")
    return ExitCode.SUCCESS


def others(context: CommandContext) -> list[dict[str, Any]]:
    """Return the sessions that the user may see, or those of `--user`, without the one of this command."""
    own = {session["id"] for session in context.ask(context.client.search, "session")["sessions"]}
    found = context.ask(context.client.sessions, getattr(context.args, "user", None))
    return [session for session in found if session["id"] not in own]


def named(id: str) -> str:
    """Return the id of a session, given with or without `session/`."""
    return f"session/{id.removeprefix('session/')}"
