"""`geventjob submit · rerun`: new jobs."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from itertools import islice
from pathlib import Path

from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, Conflict, Refused
from geventjob.cli import jobs, watch
from geventjob.cli.context import NO_SUCCESS, WELL, WRONG, Commands, Context, Wrong
from geventjob.config import kinds

LARGEST = 8 << 20
"""Bytes that are read of a payload; what a job may carry is the server's to say."""
PAGE = 1000
LISTED = 20
"""More ids than these are not listed on a terminal."""
COPIED = [
    "action",
    "payload",
    "targetResource",
    "priority",
    "timeout",
    "name",
    "description",
    "tags",
    "parentJob",
    "acl",
]
"""What a job that is run again has from the first; `properties` too, without what the server keeps there."""


def declare(commands: Commands) -> None:
    """The commands' own arguments."""
    parser = commands.add("submit", submit, "submit jobs")
    parser.add_argument("action", metavar="ACTION", help="what an executor shall run")
    parser.add_argument("--target", metavar="HREF", help="id of the resource that it is about")
    parser.add_argument("--priority", type=priority, metavar="N", help="0 to 999, lower runs first (default 999)")
    parser.add_argument("--payload", type=payload, metavar="JSON", help="its input, an object; @FILE or - to read it")
    parser.add_argument(
        "--property", type=pair, action="append", default=[], metavar="NAME=VALUE", help="repeatable",
    )  # fmt: skip
    parser.add_argument("--name", metavar="TEXT", help="a name for people to see")
    parser.add_argument("--tag", action="append", default=[], metavar="TEXT", help="to find it by; repeatable")
    parser.add_argument(
        "--job-timeout", type=kinds.seconds, metavar="SECONDS", help="how long it may take (default: the action's)"
    )
    parser.add_argument("--key", metavar="KEY", help="submitting again with the same key makes no second job")
    parser.add_argument("--count", type=count, default=1, metavar="N", help="so many of the same")
    parser.add_argument("--wait", action="store_true", help="until they have ended; exit code 1 unless all in SUCCESS")

    parser = commands.add("rerun", rerun, "submit jobs like ones that have ended")
    parser.add_argument("ids", metavar="ID", nargs="+", help="job/<uuid>, <uuid>, or how it begins")


# --- values of options


def priority(text: str) -> int:
    if not text.isdecimal() or int(text[:4]) > 999:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 999, not {text!r}")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:8]) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000000, not {text!r}")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def payload(text: str) -> Document:
    try:
        value = json.loads(read(text))
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON, @FILE or -: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('expected a JSON object, as {"name": "value"}')
    return value


def read(text: str) -> str:
    try:
        if text == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open("rb") as file:
                content = file.read(LARGEST + 1)
        else:
            return text
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text[1:]}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise argparse.ArgumentTypeError("what is there is far larger than any payload may be")
    return content.decode()


# --- submit


def submit(context: Context) -> int:
    args = context.args
    job = described(args)
    key = args.key or str(uuid.uuid4())
    if args.count == 1:
        return submit_one(context, job | {"idempotencyKey": key})
    filter = f"idempotencyKey^={jobs.value(key + '/', '--key')}"
    if args.wait and not context.ask(lambda: context.client.dialect.keeps_keys):
        raise Wrong("--wait with --count: this server keeps no keys by which all of them could be found again")
    ids = submit_many(context, job, key)
    announce(context, ids, filter)
    warn_if_unknown(context, job["action"])
    code = watch.many(context, filter, len(ids)) if args.wait and ids else WELL
    return code if len(ids) == args.count else code or (NO_SUCCESS if ids else WRONG)


def described(args: argparse.Namespace) -> Document:
    """The job that the options describe."""
    job = {
        "action": args.action,
        "targetResource": {"href": args.target} if args.target is not None else None,
        "priority": args.priority,
        "payload": args.payload,
        "name": args.name,
        "tags": args.tag or None,
        "timeout": args.job_timeout,
        "properties": dict(args.property) or None,
    }
    return {name: value for name, value in job.items() if value is not None}


def submit_one(context: Context, job: Document) -> int:
    try:
        id = context.client.add("job", job)
    except Conflict as error:
        raise Wrong(f"--key: {error.message}") from None
    announce(context, [id], "")
    warn_if_unknown(context, job["action"])
    return watch.one(context, id) if context.args.wait else WELL


def submit_many(context: Context, job: Document, key: str) -> list[str]:
    """The ids of those that the server took; the first refusal is told."""
    total = context.args.count
    ids: list[str] = []
    refusals: list[Refused] = []
    numbers = iter(range(1, total + 1))
    with context.screen.progress(total, every=60.0) as update:
        while len(ids) + len(refusals) < total:
            page = [job | {"idempotencyKey": f"{key}/{n}"} for n in islice(numbers, PAGE)]
            try:
                results = context.client.bulk_add(page)
            except CimiError:
                context.screen.note(f"{len(ids)} of {total} jobs were submitted; to go on: the same with --key {key}")
                raise
            ids += [result for result in results if isinstance(result, str)]
            refusals += [result for result in results if isinstance(result, Refused)]
            update(len(ids), f"{len(ids)} of {total} submitted" if context.screen.live else "")
    if refusals:
        context.screen.note(f"{len(refusals)} of {total} jobs were refused: {refusals[0].message}")
    return ids


def announce(context: Context, ids: list[str], filter: str) -> None:
    """Say what was made, before anything is waited for."""
    if context.args.json:
        context.screen.document(ids)
    elif context.screen.live and len(ids) > LISTED:
        context.screen.line(f'{len(ids)} jobs submitted; to see them: {context.command} jobs --filter "{filter}"')
    else:
        for id in ids:
            context.screen.line(id)


def warn_if_unknown(context: Context, action: str) -> None:
    """Nobody would run it. Only an administrator can know."""
    try:
        nodes = context.client.nodes()
    except CimiError:
        return
    if not any(action in node.get("actions", ()) for node in nodes if node.get("role") == "executor"):
        context.screen.note(f"warning: no executor announces the action {action!r}: see {context.command} actions")


# --- rerun


def rerun(context: Context) -> int:
    """Submit a job like each."""
    made: list[str] = []
    code = jobs.each(context, lambda text: made.append(rerun_one(context, text)))
    if context.args.json:
        jobs.documents(context, [context.ask(context.client.get, id) for id in made])
    return code


def rerun_one(context: Context, text: str) -> str:
    old = jobs.get(context, text)
    if old["state"] not in jobs.FINAL:
        raise Wrong(f"{old['id']} is {old['state']}: only a job that has ended can be run again")
    id: str = context.client.add("job", like(old))
    context.screen.line(id)
    return id


def like(old: Document) -> Document:
    """A new job that asks for the same."""
    job = {name: old[name] for name in COPIED if name in old}
    properties = {name: value for name, value in old.get("properties", {}).items() if name != "zookeeper-path"}
    return job | ({"properties": properties} if properties else {})
