"""`geventjob`: submit jobs and look after them. gevent does not patch it, and each command loads its modules late."""

from __future__ import annotations

from geventjob.title import mask_early

mask_early()  # before the imports below, which take a second

import argparse
import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from geventjob import config
from geventjob.cimi.errors import CimiError
from geventjob.cli import (
    check,
    context,
    cron,
    fleet,
    here,
    jobs,
    key,
    logs,
    new_action,
    schedules,
    stack,
    submit,
    user,
    watch,
)
from geventjob.cli.context import CommandContext
from geventjob.cli.errors import UsageError, WaitTimedOut, explain
from geventjob.config import kinds
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

VALUED = {f"--{option.name}" for option in config.options("client") if not option.switch} | {
    "-c",
    "--config",
    "--timeout",
}
"""Options before the name of the command whose value is the next word."""
HINTED = {f"--{option.name}" for option in config.options("client") if not option.secret} | {"-c", "--config"}
"""Options that name the server and the user, and are repeated in hints."""
EPILOG = "exit codes:\n" + "\n".join(f"  {code:<4}  {code.meaning}" for code in ExitCode)
CHOICE = re.compile(r"[^:]*: invalid choice: (?P<word>.*) \(choose from (?P<words>.*)\)", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest valid word."""

    def error(self, message: str) -> NoReturn:
        """Print an error in one line, and exit with 2."""
        message = message.removeprefix("argument ")
        if wrong := CHOICE.fullmatch(message):
            words = [word.strip(" '\"") for word in wrong["words"].split(",")]
            word = wrong["word"].strip("'\"")
            message = f"unknown command {word!r}{config.nearest(word, words)}; expected one of {' '.join(words)}"
        config.refuse("client", message)


class CommandTree:
    """The commands. Options of all commands may stand before or after the name of the command."""

    def __init__(self) -> None:
        self.common = CommandParser(add_help=False, argument_default=argparse.SUPPRESS)
        self.common.add_argument("--json", action="store_true", help="print JSON, for programs")
        self.common.add_argument(
            "--timeout", type=kinds.seconds, metavar="SECONDS",
            help=f"how long to try for a server that is away (default {context.PATIENCE:g}), and how long --wait and"
            " watch wait for jobs (default without limit)",
        )  # fmt: skip
        self.parser = CommandParser(
            prog="geventjob",
            description="Submit jobs and look after them.",
            epilog=EPILOG,
            parents=[self.common, config.OptionParser("client", add_help=False)],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.parser.add_argument("--version", action=_VersionAction)
        self.parsers = [self.parser]
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
        for module in (submit, jobs, watch, logs, stack, fleet, schedules, user, key, cron, check, here, new_action):
            module.declare(self)
        self._commands.add_parser("up", help="run server, executor and distributors on this machine")

    def add(self, name: str, run: Callable[[CommandContext], int], help: str, description: str | None = None) -> Any:
        """Declare a command (see `context.Commands`)."""
        parser = self._add(name, help, description or help[0].upper() + help[1:] + ".")
        parser.set_defaults(run=run, local=None)
        return parser

    def add_local(self, name: str, run: Callable[[Screen, argparse.Namespace], int], help: str) -> Any:
        """Declare a command that asks no server (see `context.Commands`)."""
        parser = self._add(name, help, help[0].upper() + help[1:] + ".")
        parser.set_defaults(local=run)
        return parser

    def _add(self, name: str, help: str, description: str) -> CommandParser:
        parser: CommandParser = self._commands.add_parser(
            name,
            help=help,
            description=description,
            epilog="`geventjob --help` lists the connection options.",
            parents=[self.common],
            allow_abbrev=False,
        )
        self.parsers.append(parser)
        return parser

    def parse(self, arguments: Sequence[str], into: argparse.Namespace) -> None:
        """Parse a whole command line; print a line for wrong usage and exit with 2."""
        _, rest = self.parser.parse_known_args(arguments, into)
        if rest:
            known = [option for parser in self.parsers for option in parser._option_string_actions]
            option = rest[0].partition("=")[0]
            told = config.nearest(option, known) if option.startswith("-") else ""
            config.refuse("client", f"unrecognized argument: {option}{told}")


class _VersionAction(argparse.Action):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, help="print the version", **{k: v for k, v in kwargs.items() if k != "nargs"})

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        from geventjob import __version__

        print(f"geventjob {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    at = command_at(arguments)
    if at is not None and arguments[at] == "up":
        from geventjob.cli import up

        return up.main(arguments[:at] + arguments[at + 1 :])
    config.hide_secrets("geventjob", arguments)
    try:
        code = run(arguments or ["--help"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
        return ExitCode.BROKEN_PIPE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def command_at(arguments: Sequence[str]) -> int | None:
    """Return the index of the command's name, the first word that is neither an option nor an option's value."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in VALUED else 1
    return at if at < len(arguments) else None


def command_line(arguments: Sequence[str]) -> str:
    """Return `geventjob` with the connection options of a command line, without the password, for hints."""
    words = ["geventjob"]
    for at, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in HINTED:
            words += arguments[at : at + (2 if name in VALUED and not equals else 1)]
    return shlex.join(words)


def run(arguments: list[str]) -> int:
    """Parse a command line, connect, run the command, and return its exit code."""
    if {"-h", "--help", "--version"} & set(arguments):
        CommandTree().parser.parse_args(arguments)  # ends the process
    settings, rest = config.parse_known("client", arguments)
    args = argparse.Namespace(json=False, timeout=None)
    CommandTree().parse(rest, args)

    from geventjob.cli.screen import Screen

    screen = Screen(json=args.json)
    try:
        if args.local:
            return int(args.local(screen, args))
        with connect(settings, args) as client:
            if not settings.told_server and not is_there(settings, screen):
                return ExitCode.SERVER_AWAY
            code: int = args.run(CommandContext(client, screen, args, settings.ss_pass, command_line(arguments)))
            client.log_out()
            return code
    except UsageError as error:
        config.refuse("client", str(error))
    except WaitTimedOut as error:
        screen.note(str(error))
        return ExitCode.TIMEOUT
    except CimiError as error:
        code, words = explain(error, args.timeout or context.PATIENCE)
        screen.note(words)
        return code


def is_there(settings: config.Settings, screen: Screen) -> bool:
    """Return whether to go on where no server was named; print how to start a server where none listens.

    A server that `geventjob up` has started before may be about to start again. Raises UsageError for a data folder
    that was named and has no log-in.
    """
    own = Path(settings.data_dir).expanduser() / "client.ini"
    if settings.data_dir and own.exists() and settings.own_file is None:
        raise UsageError(f"cannot read {own}: name a server with --ss-url or -c")
    if settings.own_file is None and settings.data_dir != config.default_data_dir():
        start = f"geventjob up --data-dir {settings.data_dir}"
        raise UsageError(f"--data-dir {settings.data_dir} has no client.ini: `{start}` writes one")
    address = urlsplit(settings.ss_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1).close()
    except ConnectionRefusedError:
        where = f"at {settings.ss_url}" + (f" ({settings.own_file})" if settings.own_file else "")
        screen.note(f"no server listens {where}: `geventjob up` starts one here, --ss-url names another")
        return settings.own_file is not None
    except OSError:
        pass  # the client reports the error
    return True


def connect(settings: config.Settings, args: argparse.Namespace) -> Any:
    """Return a client that has not connected yet, for one call at a time, none longer than `--timeout`."""
    from geventjob.cli import connection  # loads requests, which `--help` does without

    patience = args.timeout or context.PATIENCE
    try:
        return connection.connect(
            settings,
            connections=2,
            timeout=(min(5.0, patience), max(1.0, min(30.0, patience))),
            patience=patience,
        )
    except ValueError as error:
        raise UsageError(f"--ss-url: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
