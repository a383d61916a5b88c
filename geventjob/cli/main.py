"""`geventjob`: submit jobs and look after them. It is not patched, and loads what a command needs when it needs it."""

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
from geventjob.cli import context, cron, fleet, jobs, key, submit, user, watch
from geventjob.cli.context import Context, OutOfTime, Wrong
from geventjob.config import kinds

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

VALUED = {f"--{option.name}" for option in config.options("client") if not option.switch} | {
    "-c",
    "--config",
    "--timeout",
}
"""Options before the command that take a value in the next word."""
HINTED = {f"--{option.name}" for option in config.options("client") if not option.secret} | {"-c", "--config"}
"""Options that say where the server is, and who asks."""
EPILOG = """\
exit codes: 0 well, 1 the job did not succeed, 2 wrong usage, 3 out of time, 4 server away, 5 log-in refused,
6 no such job"""


CHOICE = re.compile(r"[^:]*: invalid choice: (?P<word>.*) \(choose from (?P<words>.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser that tells what is wrong in one line, with the nearest right word."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        if wrong := CHOICE.fullmatch(message):
            words = [word.strip(" '\"") for word in wrong["words"].split(",")]
            word = wrong["word"].strip("'\"")
            message = f"unknown command {word!r}{config.nearest(word, words)}; expected one of {' '.join(words)}"
        config.refuse("client", message)


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
        self.parsers = [self.parser]
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
        for module in (submit, jobs, watch, fleet, user, key, cron):
            module.declare(self)
        self._commands.add_parser("up", help="run server, executor and distributors on this machine")

    def add(self, name: str, run: Callable[[Context], int], help: str, description: str | None = None) -> Any:
        """A command (see `context.Commands`)."""
        parser = self._add(name, help, description or help[0].upper() + help[1:] + ".")
        parser.set_defaults(run=run, local=None)
        return parser

    def add_local(self, name: str, run: Callable[[Screen, argparse.Namespace], int], help: str) -> Any:
        """A command that asks no server (see `context.Commands`)."""
        parser = self._add(name, help, help[0].upper() + help[1:] + ".")
        parser.set_defaults(local=run)
        return parser

    def _add(self, name: str, help: str, description: str) -> Parser:
        parser: Parser = self._commands.add_parser(
            name,
            help=help,
            description=description,
            epilog="The options of the connection are told by `geventjob --help`.",
            parents=[self.common],
            allow_abbrev=False,
        )
        self.parsers.append(parser)
        return parser

    def parse(self, arguments: Sequence[str], into: argparse.Namespace) -> None:
        """Parse a whole command line. A wrong one is told in one line, and ends the process with exit code 2."""
        _, rest = self.parser.parse_known_args(arguments, into)
        if rest:
            known = [option for parser in self.parsers for option in parser._option_string_actions]
            option = rest[0].partition("=")[0]
            told = config.nearest(option, known) if option.startswith("-") else ""
            config.refuse("client", f"unrecognized argument: {option}{told}")


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
        code = run(arguments or ["--help"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to complain at exit
        return context.CUT_OFF
    except KeyboardInterrupt:
        return context.INTERRUPTED


def command_at(arguments: Sequence[str]) -> int | None:
    """Return where the name of the command stands: the first word that is neither an option nor the value of one."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in VALUED else 1
    return at if at < len(arguments) else None


def command_line(arguments: Sequence[str]) -> str:
    """Return what to type for this command line up to its command: `geventjob`, and where the server is found.

    A password is left out: a hint is no place for it.
    """
    words = ["geventjob"]
    for at, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in HINTED:
            words += arguments[at : at + (2 if name in VALUED and not equals else 1)]
    return shlex.join(words)


def run(arguments: list[str]) -> int:
    """Parse the command line, connect, do what it says; return the exit code."""
    if {"-h", "--help", "--version"} & set(arguments):
        Tree().parser.parse_args(arguments)  # ends the process
    settings, rest = config.parse_known("client", arguments)
    args = argparse.Namespace(json=False, timeout=None)
    Tree().parse(rest, args)

    from geventjob.cli.screen import Screen

    screen = Screen(json=args.json)
    try:
        if args.local:
            return int(args.local(screen, args))
        with connect(settings, args) as client:
            if not settings.told_server and not is_there(settings, screen):
                return context.AWAY
            code: int = args.run(Context(client, screen, args, settings.ss_pass, command_line(arguments)))
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


def is_there(settings: config.Settings, screen: Screen) -> bool:
    """Return whether to go on where no server was named; tell how to start one where none listens.

    One that `geventjob up` has started before may be on its way up again. Raises Wrong for a data folder that was
    named and has no log-in.
    """
    own = Path(settings.data_dir).expanduser() / "client.ini"
    if settings.data_dir and own.exists() and settings.own_file is None:
        raise Wrong(f"cannot read {own}: name a server with --ss-url or -c")
    if settings.own_file is None and settings.data_dir != config.default_data_dir():
        start = f"geventjob up --data-dir {settings.data_dir}"
        raise Wrong(f"--data-dir {settings.data_dir} has no client.ini: `{start}` writes one")
    address = urlsplit(settings.ss_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1).close()
    except ConnectionRefusedError:
        where = f"at {settings.ss_url}" + (f" ({settings.own_file})" if settings.own_file else "")
        screen.note(f"no server listens {where}: `geventjob up` starts one here, --ss-url names another")
        return settings.own_file is not None
    except OSError:
        pass  # the client says what is wrong
    return True


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
