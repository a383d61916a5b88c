"""`geventjob user`: the users of the job server. A password comes from a prompt or a file, never from an option."""

from __future__ import annotations

import sys

from geventjob.cimi.errors import Conflict, NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.cli.screen import age
from geventjob.config import nearest
from geventjob.config.login import LONGEST_PASSWORD
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    declare_one = commands.add_subcommands(commands.add("user", listed), required=True)
    declare_one("list", listed, "list the users")
    adding = declare_one("add", add, "add a user")
    adding.add_argument("--admin", action="store_true", help="an administrator, with all rights")
    adding.add_argument(
        "--role", action="append", default=[], metavar="ROLE",
        help="a role besides USER, as SUBMITTER, VIEWER or EXECUTOR; repeatable",
    )  # fmt: skip
    changing = declare_one("passwd", passwd, "change a user's password and end the user's sessions")
    deleting = declare_one("delete", delete, "delete a user and end the user's sessions")
    for command in (adding, changing, deleting):
        command.add_argument("name", metavar="NAME")
    for command in (adding, changing):
        command.add_argument("--pass-file", metavar="FILE", help="file whose first line is the password; - is stdin")


def listed(context: CommandContext) -> int:
    """List the users."""
    users = context.ask(context.client.search, "user", orderby="username:asc")["users"]
    if context.args.json:
        context.screen.document(users)
        return ExitCode.SUCCESS
    rows = [(user.get("id"), user.get("roles"), age(user.get("created"))) for user in users]
    context.screen.table(("id", "roles", "age"), rows)
    return ExitCode.SUCCESS


def add(context: CommandContext) -> int:
    """Add a user. Raises UsageError for a name that is in use."""
    name = context.args.name
    roles = dict.fromkeys([*(["ADMIN"] if context.args.admin else []), *context.args.role, "USER"])
    body = {"username": name, "password": password(context), "roles": " ".join(roles)}
    try:
        id = context.ask(context.client.add, "user", body)
    except Conflict:
        raise UsageError(
            f"there is a user {name} already: {context.command} user passwd {name} changes the password"
        ) from None
    return report(context, id, "added")


def passwd(context: CommandContext) -> int:
    """Change a user's password. Raises UsageError for a user that does not exist."""
    edit = {"password": password(context)}
    if context.args.name == context.client.user and context.own_password:
        edit["oldPassword"] = context.own_password  # the server asks it of all but administrators
    try:
        context.ask(context.client.edit, f"user/{context.args.name}", edit)
    except NotFound:
        raise unknown(context) from None
    return report(context, f"user/{context.args.name}", "has a new password")


def delete(context: CommandContext) -> int:
    """Delete a user. Raises UsageError for a user that does not exist."""
    try:
        context.ask(context.client.delete, f"user/{context.args.name}")
    except NotFound:
        raise unknown(context) from None
    return report(context, f"user/{context.args.name}", "deleted")


def unknown(context: CommandContext) -> UsageError:
    """Return the error for a user that does not exist."""
    users = context.ask(context.client.search, "user", select="username")["users"]
    told = nearest(context.args.name, [user["username"] for user in users])
    return UsageError(f"there is no user {context.args.name}{told}")


def report(context: CommandContext, id: str, what: str) -> int:
    """Print the outcome for one user."""
    if context.args.json:
        context.screen.document({"id": id})
    context.screen.line(f"{id}  {what}")
    return ExitCode.SUCCESS


def password(context: CommandContext) -> str:
    """Return the new password, from `--pass-file` or a prompt. Raises UsageError."""
    file = context.args.pass_file
    if file is None and not sys.stdin.isatty():
        raise UsageError("--pass-file is needed where there is no terminal to ask for the password")
    found = prompted(context.args.name) if file is None else first_line(file)
    if not found:
        raise UsageError("the password is empty")
    return found


def prompted(name: str) -> str:
    """Ask for a password twice, and return it. Raises UsageError where the two differ."""
    from getpass import getpass

    found = getpass(f"Password for {name}: ")
    if found != getpass("The same again: "):
        raise UsageError("the two passwords differ")
    return found


def first_line(file: str) -> str:
    """Return the first line of a file, or of stdin for `-`. Raises UsageError."""
    try:
        if file == "-":
            return sys.stdin.readline(LONGEST_PASSWORD).rstrip("\r\n")
        with open(file, encoding="utf-8") as lines:
            return lines.readline(LONGEST_PASSWORD).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is not UTF-8 text")
        raise UsageError(f"--pass-file: cannot read {file}: {why}") from None
