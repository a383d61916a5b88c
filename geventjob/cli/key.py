"""`geventjob key`: the user's API keys, for programs that log in. A secret is printed once, when its key is made."""

from __future__ import annotations

from geventjob.cimi.errors import NotFound
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.cli.screen import age
from geventjob.config import kinds
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    add = commands.add_subcommands(commands.add("key", listed), required=True)

    made = add("new", new, "make a key and print its secret, which is never shown again")
    made.add_argument("--name", metavar="NAME", help="a name for people to see")
    made.add_argument("--expires", type=kinds.days, metavar="DAYS", help="days until the key ends (default never)")
    made.add_argument(
        "--role", action="append", default=[], metavar="ROLE",
        help="a role of the key; repeatable (default all of yours; a role that you lose the key loses too)",
    )  # fmt: skip
    add("list", listed, "list your keys; an administrator sees all keys")
    add("delete", delete, "delete a key and end its sessions").add_argument("key", metavar="ID")


def new(context: CommandContext) -> int:
    """Make a key and print its id and secret."""
    args = context.args
    made = context.ask(context.client.new_key, name=args.name, days=args.expires, roles=args.role)
    if args.json:
        context.screen.document({"id": made.id, "secret": made.secret})
        return ExitCode.SUCCESS
    context.screen.line(f"key     {made.id}")
    context.screen.line(f"secret  {made.secret}")
    context.screen.note("keep the secret in a file that only you can read: it is not shown again")
    return ExitCode.SUCCESS


def listed(context: CommandContext) -> int:
    """List the keys that the user may see."""
    keys = context.ask(context.client.search, "credential", orderby="created:desc")["credentials"]
    if context.args.json:
        context.screen.document(keys)
        return ExitCode.SUCCESS
    rows = [
        (
            key.get("id"),
            key.get("name"),
            key.get("claims", {}).get("identity"),
            " ".join(role for role in key.get("claims", {}).get("roles", ()) if role != "ANON"),
            age(key.get("created")),
            key.get("expiry", "never"),
        )
        for key in keys
    ]
    context.screen.table(("id", "name", "user", "roles", "age", "ends"), rows)
    return ExitCode.SUCCESS


def delete(context: CommandContext) -> int:
    """Delete a key. Raises UsageError for a key that does not exist."""
    id = f"credential/{context.args.key.removeprefix('credential/')}"
    try:
        context.ask(context.client.delete, id)
    except NotFound:
        raise UsageError(f"there is no key {id}") from None
    if context.args.json:
        context.screen.document({"id": id})
        return ExitCode.SUCCESS
    context.screen.line(f"{id}  deleted")
    return ExitCode.SUCCESS
