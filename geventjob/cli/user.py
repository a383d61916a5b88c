"""`geventjob user`: who may log in to the job server. A password is prompted for or read from a file, no option."""

from __future__ import annotations

import sys

from geventjob.cimi.errors import Conflict, NotFound
from geventjob.cli.context import WELL, Commands, Context, Wrong
from geventjob.cli.screen import age


def declare(commands: Commands) -> None:
    """The command's own commands and their arguments."""
    parser = commands.add("user", listed, "add a user, list users, change a password, delete a user")
    what = parser.add_subparsers(metavar="add|list|passwd|delete", required=True)
    listing = what.add_parser(
        "list", help="list the users", description="list the users", allow_abbrev=False, parents=[commands.common]
    )
    listing.set_defaults(run=listed)
    for name, run, help in (
        ("add", add, "add a user"),
        ("passwd", passwd, "give a user another password; all of the user's sessions end"),
        ("delete", delete, "delete a user; all of the user's sessions end"),
    ):
        command = what.add_parser(name, help=help, description=help, allow_abbrev=False, parents=[commands.common])
        command.set_defaults(run=run)
        command.add_argument("name", metavar="NAME")
        if name == "add":
            command.add_argument("--admin", action="store_true", help="who may do everything")
            command.add_argument(
                "--role", action="append", default=[], metavar="ROLE",
                help="a role besides USER, as SUBMITTER, VIEWER or EXECUTOR; repeatable",
            )  # fmt: skip
        if name != "delete":
            command.add_argument(
                "--pass-file", metavar="FILE", help="file whose first line is the password; - is stdin"
            )


def listed(context: Context) -> int:
    users = context.ask(context.client.search, "user", orderby="username:asc")["users"]
    if context.args.json:
        context.screen.document(users)
        return WELL
    rows = [(user.get("id"), user.get("roles"), age(user.get("created"))) for user in users]
    context.screen.table(("id", "roles", "age"), rows)
    return WELL


def add(context: Context) -> int:
    name = context.args.name
    roles = dict.fromkeys([*(["ADMIN"] if context.args.admin else []), *context.args.role, "USER"])
    body = {"username": name, "password": password(context), "roles": " ".join(roles)}
    try:
        id = context.ask(context.client.add, "user", body)
    except Conflict:
        raise Wrong(
            f"there is a user {name} already: {context.command} user passwd {name} changes the password"
        ) from None
    return report(context, id, "added")


def passwd(context: Context) -> int:
    edit = {"password": password(context)}
    if context.args.name == context.client.user and context.own_password:
        edit["oldPassword"] = context.own_password  # asked of all but administrators
    try:
        context.ask(context.client.edit, f"user/{context.args.name}", edit)
    except NotFound:
        raise unknown(context) from None
    return report(context, f"user/{context.args.name}", "has a new password")


def delete(context: Context) -> int:
    try:
        context.ask(context.client.delete, f"user/{context.args.name}")
    except NotFound:
        raise unknown(context) from None
    return report(context, f"user/{context.args.name}", "deleted")


def unknown(context: Context) -> Wrong:
    return Wrong(f"there is no user {context.args.name}")


def report(context: Context, id: str, what: str) -> int:
    if context.args.json:
        context.screen.document({"id": id})
    context.screen.line(f"{id}  {what}")
    return WELL


def password(context: Context) -> str:
    """The new password. Raises Wrong."""
    file = context.args.pass_file
    if file is None and not sys.stdin.isatty():
        raise Wrong("--pass-file is needed where there is no terminal to ask for the password")
    found = prompted(context.args.name) if file is None else first_line(file)
    if not found:
        raise Wrong("the password is empty")
    return found


def prompted(name: str) -> str:
    from getpass import getpass

    found = getpass(f"Password for {name}: ")
    if found != getpass("The same again: "):
        raise Wrong("that was not the same password twice")
    return found


def first_line(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.readline(10_000).rstrip("\r\n")
        with open(file, encoding="utf-8") as lines:
            return lines.readline(10_000).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"--pass-file: cannot read {file}: {getattr(error, 'strerror', 'it is not UTF-8 text')}") from None
