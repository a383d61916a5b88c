"""`geventjob`: submit jobs and look after them. It is not patched, and loads what a command needs when it needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from geventjob import config
from geventjob.cimi.errors import CimiError
from geventjob.cli import context, fleet, jobs, key, submit, user, watch
from geventjob.cli.context import Context, OutOfTime, Wrong
from geventjob.config import kinds

EPILOG = """\
exit codes: 0 well, 1 the job did not succeed, 2 wrong usage, 3 out of time, 4 server away, 5 log-in refused,
6 no such job"""


class Parser(argparse.ArgumentParser):
    """One line for what is wrong."""

    def error(self, message: str) -> NoReturn:
        config.refuse("client", message.removeprefix("argument "))


class Tree:
    """The commands, each with the options that all of them have, before or after its name."""

    def __init__(self) -> None:
        self.common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
        self.common.add_argument("--json", action="store_true", help="print JSON, for programs")
        self.common.add_argument(
            "--timeout", type=kinds.seconds, metavar="SECONDS",
            help=f"how long to try for a server that is away (default {context.PATIENCE:g}), and to wait for what"
            " --wait and watch wait for (default without limit)",
        )  # fmt: skip
        self.parser = Parser(
            prog="geventjob",
            description="Submit jobs and look after them.",
            epilog=EPILOG,
            parents=[self.common, config.Parser("client", add_help=False)],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.parser.add_argument("--version", action=_Version)
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
        for module in (submit, jobs, watch, fleet, user, key):
            module.declare(self)
        self._commands.add_parser("up", help="run server, executor and distributors on this machine")

    def add(self, name: str, run: Callable[[Context], int], help: str, description: str | None = None) -> Any:
        """A command (see `context.Commands`)."""
        parser = self._commands.add_parser(
            name,
            help=help,
            description=description or help[0].upper() + help[1:] + ".",
            epilog="The options of the connection are told by `geventjob --help`.",
            parents=[self.common],
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser


class _Version(argparse.Action):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, help="print the version", **{k: v for k, v in kwargs.items() if k != "nargs"})

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        from geventjob import __version__

        print(f"geventjob {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code (DESIGN §9)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    at = command_at(arguments)
    if at is not None and arguments[at] == "up":
        from geventjob.cli import up

        return up.main(arguments[:at] + arguments[at + 1 :])
    config.hide_secrets("geventjob", arguments)
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to complain at exit
        return context.CUT_OFF
    except KeyboardInterrupt:
        return context.INTERRUPTED


def command_at(arguments: Sequence[str]) -> int | None:
    """Where the name of the command stands: the first word that is neither an option nor the value of one."""
    valued = {f"--{option.name}" for option in config.options("client") if not option.switch}
    valued |= {"-c", "--config", "--timeout"}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in valued else 1
    return at if at < len(arguments) else None


def run(arguments: list[str]) -> int:
    """Parse, connect, do."""
    if {"-h", "--help", "--version"} & set(arguments):
        Tree().parser.parse_args(arguments)  # ends the process
    settings, rest = config.parse_known("client", arguments)
    args = argparse.Namespace(json=False, timeout=None)
    Tree().parser.parse_args(rest, args)

    from geventjob.cli.screen import Screen

    screen = Screen(json=args.json)
    try:
        with connect(settings, args) as client:
            code: int = args.run(Context(client, screen, args, settings.ss_pass))
            client.log_out()
            return code
    except Wrong as error:
        config.refuse("client", str(error))
    except OutOfTime as error:
        screen.note(str(error))
        return context.OUT_OF_TIME
    except CimiError as error:
        code, words = context.ending(error, args.timeout or context.PATIENCE)
        screen.note(words)
        return code


def connect(settings: config.Settings, args: argparse.Namespace) -> Any:
    """The client, not connected yet. One call is under way at a time, and takes no longer than is left to try."""
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
        raise Wrong(f"--ss-url: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
