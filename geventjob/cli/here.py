"""`geventjob run`: an action, once, in this terminal, without server and queue."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from geventjob import config
from geventjob.cli.context import Commands
from geventjob.cli.job_options import payload
from geventjob.config import kinds
from geventjob.isolated import become

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("run", run)
    parser.add_argument("action", metavar="ACTION", help="name of the action")
    parser.add_argument(
        "--payload", type=payload, metavar="JSON", help="input of the action, an object; @FILE or - reads it"
    )
    parser.add_argument("--target", metavar="HREF", help="id of the resource that the job is about")
    parser.add_argument(
        "--job-timeout", type=kinds.seconds, metavar="SECONDS", help="time limit of the run (default: the action's)"
    )
    parser.add_argument(
        "--actions-dir", action="append", default=[], metavar="DIR",
        help="folder with actions; repeatable (default: the one of `geventjob up`)",
    )  # fmt: skip
    parser.add_argument("--allow-unsafe-plugins", action="store_true", help="also files that other users may change")


def run(screen: Screen, args: argparse.Namespace) -> int:
    """Become a process that is patched like an executor, and runs the action."""
    usual = Path(config.default_data_dir()) / "actions"
    request = {
        "action": args.action,
        "payload": args.payload,
        "target": args.target,
        "timeout": args.job_timeout,
        "folders": args.actions_dir or [str(usual)] * usual.is_dir(),
        "unsafe": args.allow_unsafe_plugins,
        "json": screen.json,
    }
    become("geventjob.cli.run_here", request)
