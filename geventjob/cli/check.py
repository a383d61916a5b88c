"""`geventjob check`: everything that a command needs, or the options in an environment file of a systemd unit."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from geventjob import config
from geventjob.cli.context import Commands
from geventjob.cli.errors import UsageError
from geventjob.config import environment
from geventjob.exit_code import ExitCode
from geventjob.isolated import become
from geventjob.masking import mask_arguments

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

VARIABLE = "DAEMON_ARGS"
COMMANDS = {"executor": "executor", "distributor": "distributor", "server": "server", "geventjob": "up"}
"""End of the name of a file → command whose options the file has."""
LARGEST = 1 << 20
"""Bytes of an environment file that are read at most."""


CHECKED = ("server", "executor", "distributor", "up")
"""Commands whose parts `geventjob check COMMAND` looks at."""


def is_checkup(words: list[str]) -> bool:
    """Return whether the words behind `check` ask for a look at a command's parts, and no help or file."""
    return not any(word in ("-h", "--help") or word.partition("=")[0] == "--defaults" for word in words)


def checkup(before: list[str], words: list[str]) -> NoReturn:
    """Become the process that looks at the parts of a command; without its name, of `geventjob` itself."""
    given = [*before, *words]
    arguments = [word for word in given if word != "--json"]
    command = "client"
    if words and not words[0].startswith("-"):
        command = words[0]
        arguments.remove(command)
    if command not in (*CHECKED, "client"):
        told = f"{config.nearest(command, CHECKED)}; expected one of {' '.join(CHECKED)}"
        config.refuse("client", f"check: unknown command {command!r}{told}")
    become("geventjob.cli.checkup", {"command": command, "arguments": arguments, "json": "--json" in given})


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("check", check)
    parser.add_argument(
        "part", nargs="?", choices=CHECKED, metavar="|".join(CHECKED),
        help="the command whose parts are looked at, followed by its options (default: geventjob itself)",
    )  # fmt: skip
    parser.add_argument(
        "--defaults", required=True, metavar="FILE",
        help="show instead the options that systemd reads from an environment file, as /etc/default/geventjob-executor",
    )  # fmt: skip
    parser.add_argument(
        "--command",
        choices=COMMANDS.values(),
        help="with --defaults: the command that gets the options (default: by the end of the file's name)",
    )


def check(screen: Screen, args: Namespace) -> int:
    """Print the arguments that `$DAEMON_ARGS` becomes, a line each and without secrets; warn of what looks wrong.

    Exit code 2 when there are warnings: of traps in the file, or of options that the command would refuse.
    Raises UsageError for a file that cannot be read.
    """
    text = read(Path(args.defaults))
    variables = environment.variables(text)
    arguments = environment.words(variables.get(VARIABLE, ""))
    command = args.command or next((COMMANDS[end] for end in COMMANDS if args.defaults.endswith(end)), None)
    warnings = environment.warnings(text) + (refused(command, arguments, variables) if command else [])
    notes = [] if command else ["the options are not checked: name the command by --command"]
    notes += [] if arguments else [f"{VARIABLE} is empty: the ini file and the environment alone count"]
    if screen.json:
        screen.document({"arguments": masked(arguments), "warnings": warnings, "notes": notes})
    else:
        for argument in masked(arguments):
            screen.line(argument)
        for warning in warnings:
            screen.note(f"warning: {args.defaults}: {warning}")
        for note in notes:
            screen.note(f"note: {args.defaults}: {note}")
    return ExitCode.USAGE if warnings else ExitCode.SUCCESS


def masked(arguments: list[str]) -> list[str]:
    """Return the arguments without secrets.

    Words behind a password, up to the next option, may be parts of a password with blanks that lacks its quotes.
    """
    shown, hidden = [], False
    for argument in mask_arguments(arguments):
        is_option = argument.startswith("-")
        hidden = argument.endswith("***") or (hidden and not is_option)
        shown.append("***" if hidden and not is_option else argument)
    return shown


def refused(command: str, arguments: list[str], variables: dict[str, str]) -> list[str]:
    """Return why a command refuses its arguments or its environment, and its own warnings.

    Options that are missing do not count: the ini file may have them.
    """
    parser = config.OptionParser(command, add_help=False)  # --help would end this process
    try:
        parser.refuse_rest(parser.read(arguments, variables)[1])
    except config.WrongUsage as wrong:
        return [*parser.warnings, wrong.message]
    return parser.warnings


def read(file: Path) -> str:
    """Return the text of an environment file. Raises UsageError."""
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST).decode()
    except OSError as error:
        raise UsageError(f"--defaults: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--defaults: {file} is not UTF-8 text") from None
