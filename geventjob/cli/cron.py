"""`geventjob cron`: the firings of a crontab line. No server is asked."""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING

from geventjob.calendar.schedule import Schedule, schedule, zone_of
from geventjob.calendar.zones import Zone
from geventjob.cli.context import Commands
from geventjob.cli.errors import UsageError
from geventjob.cli.moments import local_date, utc_date, words
from geventjob.config import kinds
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

MOST = 1000
"""Firings that one command shows at most."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("cron", cron)
    parser.add_argument("line", metavar="LINE", help="five fields in quotes, as '0 3 * * mon-fri', or a name as @daily")
    parser.add_argument("--timezone", metavar="ZONE", help="time zone of the line, as Europe/Berlin (default UTC)")
    parser.add_argument(
        "--after", type=moment, metavar="DATE", help="first date, as 2027-01-31 or 2027-01-31T08:15Z (default now)"
    )
    parser.add_argument(
        "--count", type=kinds.whole(1, MOST), default=5, metavar="N", help="number of firings (default 5)"
    )


def moment(text: str) -> int:
    """Return the Unix second of a date, in UTC unless the date names another offset. Raises ArgumentTypeError."""
    try:
        found = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date as 2027-01-31 or 2027-01-31T08:15Z, not {text!r}") from None
    if not 1970 <= found.year < 9000:
        raise argparse.ArgumentTypeError(f"expected a date from 1970 on, not {text!r}")
    return int((found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp())


def cron(screen: Screen, args: Namespace) -> int:
    """Print the next firings of a line. Raises UsageError for an invalid line or zone."""
    try:
        zone = zone_of(args.timezone)
        ticks = list(islice(following(schedule(None, args.line, args.timezone), args.after), args.count))
    except ValueError as error:
        raise UsageError(str(error).replace("`cron` ", "").replace("`timezone`", "--timezone")) from None
    if screen.json:
        screen.document([utc_date(tick) if zone is None else both(tick, zone) for tick in ticks])
    for tick in ticks:
        screen.line(words(tick, zone))
    return ExitCode.SUCCESS


def both(tick: int, zone: Zone) -> dict[str, str]:
    """Return the date of a firing in both times."""
    return {"local": local_date(tick, zone), "utc": utc_date(tick)}


def following(schedule: Schedule, after: int | None) -> Iterator[int]:
    """Yield the ticks after a Unix second, or after now."""
    tick = schedule.following(1000 * (int(time.time()) if after is None else after))
    while tick is not None:
        yield tick
        tick = schedule.following(tick)
