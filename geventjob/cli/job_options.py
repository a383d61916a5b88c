"""The options that describe a job, of `geventjob submit` and `geventjob schedules add · edit`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from geventjob.cimi.document import Document
from geventjob.cli.errors import UsageError
from geventjob.config import kinds
from geventjob.job.bounds import LOWEST_PRIORITY

LARGEST = 8 << 20
"""Bytes that are read of a payload; the server has a limit of its own."""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--target", metavar="HREF", help="id of the resource that the job is about")
    parser.add_argument(
        "--priority",
        type=kinds.whole(0, LOWEST_PRIORITY),
        metavar="N",
        help=f"0 to {LOWEST_PRIORITY}, lower runs first (default {LOWEST_PRIORITY})",
    )
    parser.add_argument(
        "--payload", type=payload, metavar="JSON", help="input of the action, an object; @FILE or - reads it"
    )
    parser.add_argument(
        "--property", type=pair, action="append", default=[], metavar="NAME=VALUE", help="a property; repeatable",
    )  # fmt: skip
    parser.add_argument("--tag", action="append", default=[], metavar="TEXT", help="a tag to search for; repeatable")
    parser.add_argument(
        "--job-timeout", type=kinds.seconds, metavar="SECONDS", help="time limit of the job (default: the action's)"
    )
    parser.add_argument(
        "--unique",
        metavar="PATHS",
        help="refuse the job while another one has the same values at these paths, as action,payload.account",
    )
    parser.add_argument(
        "--unique-while",
        choices=("queued", "active"),
        help="with --unique: until the other job has begun, or has ended (default active)",
    )
    parser.add_argument(
        "--unique-for",
        type=kinds.seconds,
        metavar="SECONDS",
        help="with --unique: for a time after the other job's add",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="with --unique: a job that waits gets the new payload and time, in place of a refusal",
    )
    parser.add_argument(
        "--retries",
        type=kinds.retries,
        metavar="N",
        help="how often a failed run is tried again (default: the action's)",
    )


def described(args: argparse.Namespace) -> Document:
    """Return the attributes that the options set."""
    job = {
        "targetResource": {"href": args.target} if args.target is not None else None,
        "priority": args.priority,
        "payload": args.payload,
        "tags": args.tag or None,
        "timeout": args.job_timeout,
        "retries": args.retries,
        "unique": unique(args),
        "properties": dict(args.property) or None,
    }
    return {name: value for name, value in job.items() if value is not None}


def unique(args: argparse.Namespace) -> Document | None:
    """Return the attribute `unique`; None without the option. Raises UsageError for options that do not fit."""
    if args.unique is None:
        if args.unique_while or args.unique_for or args.replace:
            raise UsageError("--unique-while, --unique-for and --replace go with --unique")
        return None
    if args.unique_while and args.unique_for:
        raise UsageError("expected --unique-while or --unique-for, and not both")
    lasts = {"for": args.unique_for} if args.unique_for else {"while": args.unique_while or "active"}
    rule: Document = {"by": [path.strip() for path in args.unique.split(",")], **lasts}
    return rule | ({"replace": True} if args.replace else {})


def pair(text: str) -> tuple[str, str]:
    """Return name and value of a property. Raises ArgumentTypeError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def payload(text: str) -> Document:
    """Return a payload. Raises ArgumentTypeError for anything but a JSON object."""
    try:
        value = json.loads(read(text))
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON, @FILE or -: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('expected a JSON object, as {"name": "value"}')
    return value


def read(text: str) -> str:
    """Return the text itself, or the content of `@FILE` or of stdin for `-`. Raises ArgumentTypeError."""
    try:
        if text == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        elif text.startswith("@"):
            with Path(text[1:]).open("rb") as file:
                content = file.read(LARGEST + 1)
        else:
            return text
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text[1:] or 'stdin'}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise argparse.ArgumentTypeError(f"larger than {LARGEST >> 20} MB, more than any payload may have")
    return content.decode()
