"""The options of `geventjob schedules add · edit`, and the schedule that they describe."""

from __future__ import annotations

import argparse
import re

from geventjob.calendar.schedule import MOST_CAUGHT_UP
from geventjob.cimi.document import Document
from geventjob.cli import job_options
from geventjob.config import kinds

UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds of each unit of `--every`."""


def declare(parser: argparse.ArgumentParser, is_new: bool) -> None:
    """Declare the options that describe a schedule and its jobs."""
    parser.add_argument("--cron", metavar="LINE", help="crontab line, as '0 3 * * mon-fri' or @daily")
    parser.add_argument("--every", type=interval, metavar="TIME", help="instead of --cron: 90, 90s, 15m, 2h or 1d")
    parser.add_argument("--timezone", metavar="ZONE", help="time zone of --cron, as Europe/Berlin (default UTC)")
    parser.add_argument(
        "--catchup", type=catchup, metavar="none|last|N",
        help="ticks that fire later if nothing could fire at their time (default last)",
    )  # fmt: skip
    parser.add_argument("--jitter", type=kinds.seconds, metavar="SECONDS", help="a tick fires up to so much later")
    parser.add_argument(
        "--unless-pending", action="store_true", default=None, help="make no job while the last one has not ended"
    )
    parser.add_argument("--action", required=is_new, metavar="ACTION", help="action of the jobs")
    job_options.declare(parser)
    parser.add_argument("--description", metavar="TEXT", help="a text for people to see")
    if not is_new:
        parser.add_argument(
            "--unset", action="append", default=[], metavar="ATTRIBUTE", help="attribute to remove; repeatable"
        )


# --- values of options


def interval(text: str) -> float:
    """Return the seconds of `90`, `90s`, `15m`, `2h` or `1d`. Raises ArgumentTypeError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a time as 90, 90s, 15m, 2h or 1d, not {text!r}")
    seconds = float(found[1]) * UNITS[found[2]]
    return int(seconds) if seconds.is_integer() else seconds


def catchup(text: str) -> str | int:
    """Return the ticks to catch up with. Raises ArgumentTypeError."""
    if text in ("none", "last"):
        return text
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_CAUGHT_UP:
        raise argparse.ArgumentTypeError(f"expected none, last or a number from 1 to {MOST_CAUGHT_UP}, not {text!r}")
    return int(text)


def described(args: argparse.Namespace) -> Document:
    """Return the attributes that the options set."""
    schedule = {
        "cron": args.cron,
        "every": args.every,
        "timezone": args.timezone,
        "catchup": args.catchup,
        "jitter": args.jitter,
        "unlessPending": args.unless_pending,
        "action": args.action,
        "description": args.description,
    }
    return {name: value for name, value in schedule.items() if value is not None} | job_options.described(args)
