"""`geventjob check`: the options in an environment file of a systemd unit. No server is asked."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from geventjob import config
from geventjob.cli.context import Commands
from geventjob.cli.errors import UsageError
from geventjob.config import environment
from geventjob.exit_code import ExitCode
from geventjob.masking import mask_arguments

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

VARIABLE = "DAEMON_ARGS"
COMMANDS = ("executor", "distributor", "server")
LARGEST = 1 << 20
"""Bytes of an environment file that are read at most."""


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("check", check, "show the options that systemd reads from an environment file")
    parser.add_argument(
        "--defaults", required=True, metavar="FILE", help="the file, as /etc/default/slipstream-job-executor"
    )


def check(screen: Screen, args: Namespace) -> int:
    """Print the arguments that `$DAEMON_ARGS` becomes, a line each and without secrets; warn of what looks wrong.

    Exit code 2 when there are warnings, or when the command that the file's name ends in does not know an option.
    Raises UsageError for a file that cannot be read.
    """
    text = read(Path(args.defaults))
    arguments = environment.words(environment.variables(text).get(VARIABLE, ""))
    warnings = environment.warnings(text)
    if screen.json:
        screen.document({"arguments": mask_arguments(arguments), "warnings": warnings})
    else:
        for argument in mask_arguments(arguments):
            screen.line(argument)
        for warning in warnings:
            screen.note(f"warning: {args.defaults}: {warning}")
    for command in COMMANDS:
        if args.defaults.endswith(command):
            parser = config.OptionParser(command)
            parser.refuse_rest(parser.read(arguments, {})[1])
    return ExitCode.USAGE if warnings else ExitCode.SUCCESS


def read(file: Path) -> str:
    """Return the text of an environment file. Raises UsageError."""
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST).decode()
    except OSError as error:
        raise UsageError(f"--defaults: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--defaults: {file} is not UTF-8 text") from None
