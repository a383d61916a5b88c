"""`geventjob key`: one's API keys, for programs that log in. A secret is printed once, when its key is made."""

from __future__ import annotations

import argparse
from typing import Any

from geventjob.cimi.errors import NotFound
from geventjob.cli.context import WELL, Commands, Context, Wrong
from geventjob.cli.screen import age
from geventjob.config import kinds


def declare(commands: Commands) -> None:
    """The command's own commands and their arguments."""
    parser = commands.add("key", listed, "make an API key, list yours, delete one")
    what = parser.add_subparsers(metavar="new|list|delete", required=True)

    def add(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = what.add_parser(
            name, help=help, description=help, allow_abbrev=False, parents=[commands.common]
        )
        command.set_defaults(run=run)
        return command

    made = add("new", new, "make a key and print its secret, which is never shown again")
    made.add_argument("--name", metavar="NAME", help="what it is for")
    made.add_argument("--expires", type=kinds.days, metavar="DAYS", help="when it ends (default never)")
    made.add_argument(
        "--role", action="append", default=[], metavar="ROLE",
        help="a role that it has; repeatable (default all that you have; ones that you lose it loses too)",
    )  # fmt: skip
    add("list", listed, "list your keys; an administrator sees all")
    add("delete", delete, "delete a key; all of its sessions end").add_argument("key", metavar="ID")


def new(context: Context) -> int:
    args = context.args
    made = context.ask(context.client.new_key, name=args.name, days=args.expires, roles=args.role)
    if args.json:
        context.screen.document({"id": made.id, "secret": made.secret})
        return WELL
    context.screen.line(f"key     {made.id}")
    context.screen.line(f"secret  {made.secret}")
    context.screen.note("keep the secret in a file that only you can read: it is not shown again")
    return WELL


def listed(context: Context) -> int:
    keys = context.ask(context.client.search, "credential", orderby="created:desc")["credentials"]
    if context.args.json:
        context.screen.document(keys)
        return WELL
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
    return WELL


def delete(context: Context) -> int:
    id = f"credential/{context.args.key.removeprefix('credential/')}"
    try:
        context.ask(context.client.delete, id)
    except NotFound:
        raise Wrong(f"there is no key {id}") from None
    if context.args.json:
        context.screen.document({"id": id})
        return WELL
    context.screen.line(f"{id}  deleted")
    return WELL
