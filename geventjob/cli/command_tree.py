"""The commands of `geventjob`: their names, and their parsers, which load the module of a command when it is used."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from geventjob import config
from geventjob.cli.context import PATIENCE, CommandContext
from geventjob.config import kinds
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

COMMANDS = {
    "submit": {
        "submit": "submit jobs",
        "rerun": "submit copies of jobs that have ended",
    },
    "jobs": {
        "jobs": "list jobs, the newest first",
        "show": "show all of a job",
        "stop": "stop jobs",
        "why": "tell why jobs are not running",
        "release": "let held jobs run now",
    },
    "watch": {"watch": "watch a job until it has ended, or all jobs"},
    "logs": {"logs": "show the last lines that a job has logged"},
    "stack": {"stack": "show where a running job is now"},
    "fleet": {
        "queue": "show the length of the queue and its next jobs, or reconcile it",
        "nodes": "list the live executors, distributors and servers",
        "actions": "list the actions that executors announce, or show one of them",
    },
    "pause": {
        "pause": "let the jobs of an action, or all jobs, wait; or list the pauses",
        "resume": "end a pause",
    },
    "executors": {"executors": "let executors take no more jobs, take jobs again, or drain and end"},
    "overview": {
        "stats": "show rates, queue, executors and actions, and what needs attention",
        "top": "show the same live, with the jobs that run longest",
    },
    "schedules": {"schedules": "list schedules and distributors; add, edit, pause, resume, fire one"},
    "limits": {"limits": "list limits; let at most so many jobs of an action run at once, or start in a time"},
    "user": {"user": "add a user, list users, change a password, delete a user"},
    "key": {"key": "make an API key, list your keys, delete a key"},
    "sessions": {"sessions": "list your sessions, end some"},
    "cron": {"cron": "show when a crontab line fires, in UTC and in local time"},
    "check": {"check": "look whether everything is there that a command needs, and say what is wrong"},
    "here": {"run": "run an action once, here, without server and queue"},
    "completion": {"completion": "print the script that lets bash, zsh or fish complete the commands"},
    "new_action": {"new-action": "write an action and its test, to begin with"},
}
"""The help of each command, by the module in this package that declares the commands."""
EPILOG = "exit codes:\n" + "\n".join(f"  {code:<4}  {code.meaning}" for code in ExitCode)
CHOICE = re.compile(r"(?P<of>[^:]*): invalid choice: (?P<word>.*) \(choose from (?P<words>.*)\)", re.DOTALL)


class TableFormatter(config.Formatter, argparse.RawDescriptionHelpFormatter):
    """The formatter of a help whose end is a table."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest valid word."""

    declared: Callable[[], None] | None = None
    """Declares the arguments before the first use of the parser."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": config.Formatter, **options})

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Declare the arguments of the command, then parse."""
        if self.declared:
            self.declared()
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print an error in one line, and exit with 2."""
        message = message.removeprefix("argument ")
        if wrong := CHOICE.fullmatch(message):
            words = [word.strip(" '\"") for word in wrong["words"].split(",")]
            word = wrong["word"].strip("'\"")
            told = f"{config.nearest(word, words)}; expected one of {' '.join(words)}"
            is_option = wrong["of"].startswith("-")
            message = f"{wrong['of']}: unknown word {word!r}{told}" if is_option else f"unknown command {word!r}{told}"
        config.refuse("client", message)


class CommandTree:
    """The commands. Options of all commands may stand before or after the name of the command."""

    def __init__(self) -> None:
        self.common = CommandParser(add_help=False, argument_default=argparse.SUPPRESS)
        self.common.add_argument("--json", action="store_true", help="print JSON, for programs")
        self.common.add_argument(
            "--timeout", type=kinds.seconds, metavar="SECONDS",
            help=f"how long to try for a server that is away (default {PATIENCE:g}), and how long --wait and"
            " watch wait for jobs (default without limit)",
        )  # fmt: skip
        self.parser = CommandParser(
            prog="geventjob",
            description="Submit jobs and look after them.",
            epilog=EPILOG,
            parents=[self.common, config.OptionParser("client", add_help=False)],
            formatter_class=TableFormatter,
            allow_abbrev=False,
        )
        self.parsers = {"": self.parser}
        self._loaded: set[str] = set()
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
        for module, commands in COMMANDS.items():
            for name, help in commands.items():
                self._name(module, name, help)
        self._commands.add_parser("up", help="run server, executor and distributors on this machine")

    def add(self, name: str, run: Callable[[CommandContext], int], description: str | None = None) -> Any:
        """Declare a command (see `context.Commands`)."""
        return self._declare(name, description, run=run, local=None)

    def add_local(self, name: str, run: Callable[[Screen, argparse.Namespace], int]) -> Any:
        """Declare a command that asks no server (see `context.Commands`)."""
        return self._declare(name, None, local=run)

    def add_subcommands(self, parser: Any, **options: Any) -> Callable[[str, Callable[..., int], str], Any]:
        """Let a command have subcommands (see `context.Commands`)."""
        subcommands = parser.add_subparsers(**options)

        def add(name: str, run: Callable[..., int], help: str) -> Any:
            made = subcommands.add_parser(name, help=help, description=help, allow_abbrev=False, parents=[self.common])
            made.set_defaults(run=run)
            subcommands.metavar = "|".join(subcommands.choices)
            return made

        return add

    def load(self) -> None:
        """Declare the arguments of every command."""
        for module in COMMANDS:
            self._load(module)
        up: Any = self._commands.choices["up"]
        up._add_container_actions(config.OptionParser("up", add_help=False))

    def _load(self, module: str) -> None:
        if module not in self._loaded:
            self._loaded.add(module)
            import_module(f"geventjob.cli.{module}").declare(self)

    def _name(self, module: str, name: str, help: str) -> None:
        """Make the parser of a command, whose arguments are declared when the command is used."""
        parser: CommandParser = self._commands.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog="`geventjob --help` lists the connection options.",
            parents=[self.common],
            allow_abbrev=False,
        )
        parser.declared = lambda: self._load(module)
        self.parsers[name] = parser

    def _declare(self, name: str, description: str | None, **defaults: Any) -> CommandParser:
        parser = self.parsers[name]
        parser.description = description or parser.description
        parser.set_defaults(**defaults)
        return parser

    def parse(self, arguments: Sequence[str], into: argparse.Namespace) -> None:
        """Parse a whole command line; print a line for wrong usage and exit with 2."""
        if arguments[0].startswith("-") and _name(arguments[0]) not in self.parser._option_string_actions:
            self._refuse(arguments[0])  # before its value is taken for a command
        _, rest = self.parser.parse_known_args(arguments, into)
        if rest:
            self._refuse(rest[0])

    def _refuse(self, argument: str) -> NoReturn:
        """Print the line about an argument that is not known, and exit with 2."""
        name = _name(argument)
        known = {option for parser in self.parsers.values() for option in parser._option_string_actions}
        told = config.nearest(name, known) if name.startswith("-") else ""
        config.refuse("client", f"unrecognized argument: {name}{told}")


def _name(argument: str) -> str:
    """Return an argument without the value of an option."""
    return argument.partition("=")[0]
