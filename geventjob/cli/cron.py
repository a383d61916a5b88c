"""`geventjob cron`: the firings of a crontab line. No server is asked."""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from geventjob.cli.context import Commands
from geventjob.cli.errors import UsageError
from geventjob.config import kinds
from geventjob.exit_code import ExitCode
from geventjob.scheduling import crontab

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

MOST = 1000
"""Firings that one command shows at most."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("cron", cron, "show when a crontab line fires, in UTC")
    parser.add_argument("line", metavar="LINE", help="five fields in quotes, as '0 3 * * mon-fri', or a name as @daily")
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
    """Print the next firings of a line. Raises UsageError for an invalid line."""
    try:
        line = crontab.parse(args.line)
    except ValueError as error:
        raise UsageError(f"{args.line!r}: {error}") from None
    after = int(time.time()) if args.after is None else args.after
    firings: list[datetime] = []
    at = line.following(after // 60)
    while at is not None and len(firings) < args.count:
        firings.append(datetime.fromtimestamp(60 * at, timezone.utc))
        at = line.following(at)
    if screen.json:
        screen.document([f"{firing:%Y-%m-%dT%H:%M:%SZ}" for firing in firings])
    for firing in firings:
        screen.line(f"{firing:%a %Y-%m-%d %H:%M} UTC")
    return ExitCode.SUCCESS
