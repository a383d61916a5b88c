"""The parser of options, over ConfigArgParse: each error is one line that names its source and shows no secret."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn

import configargparse

from geventjob.config import kinds
from geventjob.config.ini import Broken, IniFile
from geventjob.config.login import own_file
from geventjob.config.nearest import nearest
from geventjob.config.options import COMMANDS, Option, options
from geventjob.config.settings import Settings
from geventjob.exit_code import ExitCode

DESCRIPTIONS = {
    "executor": "Take jobs off the queue and run their actions.",
    "distributor": "Create jobs on a schedule; of all processes that run one distributor, one leads.",
    "server": "Serve jobs over HTTP, with SlipStream's CIMI API.",
    "up": "Run server, executor and distributors on this machine, with one command.",
    "client": "Submit jobs and look after them.",
}
EPILOG = "A flag overrides the environment, which overrides the ini file, which overrides the default."


class WrongUsage(SystemExit):
    """Wrong usage, told in one line; ends the process with its exit code unless somebody catches it."""

    def __init__(self, message: str) -> None:
        super().__init__(ExitCode.USAGE)
        self.message = " ".join(message.split())


def refuse(command: str, message: str) -> NoReturn:
    """Print one line on stderr, and raise WrongUsage."""
    wrong = WrongUsage(message)
    print(f"{COMMANDS[command]}: {wrong.message}", file=sys.stderr)
    raise wrong


class Formatter(argparse.HelpFormatter):
    """The formatter of help. argparse makes one for each option, and would load shutil to ask for the width."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": _width() - 2, **options})


def _width() -> int:
    """Return the cells of a line of the terminal."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stdout.fileno()).columns or 80)
    except (ValueError, OSError):  # ValueError: no number, and a stdout that is closed or of a test
        return 80


class Gather(argparse.Action):
    """An action of argparse that gathers the values of all occurrences in one list."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        gathered = [item for one in (values if self.nargs else [values]) for item in one]
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, gathered if before is self.default else [*before, *gathered])


class PrintVersion(argparse.Action):
    """An action of argparse that prints the version, and ends the process."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, help="print the version", **{k: v for k, v in kwargs.items() if k != "nargs"})

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        from geventjob import __version__

        print(f"geventjob {__version__}")
        parser.exit()


class OptionParser(configargparse.ArgumentParser):  # type: ignore[misc]
    """The parser of one command with all its options; see `parse`."""

    def __init__(self, command: str, add_help: bool = True) -> None:
        self.command = command
        self.options = options(command)
        self.ini = IniFile(command)
        self.warnings: list[str] = []
        """Warnings of probable mistakes, a sentence each."""
        super().__init__(
            prog=COMMANDS[command],
            description=DESCRIPTIONS[command],
            epilog=EPILOG,
            add_help=add_help,
            formatter_class=Formatter,
            allow_abbrev=False,  # a password behind an abbreviation would not be masked
            add_config_file_help=False,
            add_env_var_help=False,
            config_file_parser_class=self.ini,
            config_file_open_func=self.opened,
        )
        self.add_argument("-c", "--config", is_config_file=True, metavar="FILE", help=f"ini file: {self.ini_help}")
        self.add_argument("--version", action=PrintVersion)
        for option in self.options:
            self.declare(option)
        if command == "distributor":
            self.add_argument("names", metavar="NAME", nargs="*", help="distributor to run")
            self.add_argument("--all", action="store_true", help="run all that are found")

    @property
    def ini_help(self) -> str:
        """The syntax of the ini file."""
        timeouts = ", and a section [timeouts] of lines ACTION = SECONDS" if self.ini.has_timeouts else ""
        rights = ", and a section [rights] of lines USER = ACTION, …" if self.ini.has_rights else ""
        return f"lines OPTION = VALUE, with the options below{timeouts}{rights}"

    def declare(self, option: Option) -> None:
        """Declare one option of the table."""
        told = f"{option.help} (default {option.default_text}; ${option.variable})".replace("%", "%%")
        how: dict[str, Any] = {"help": told, "env_var": option.variable}
        if option.switch:
            self.add_argument(f"--{option.name}", action="store_true", **how)
            return
        if option.many:
            how["action"] = Gather
        if option.several and self.command != "distributor":  # its NAME… would be taken for more of them
            how["nargs"] = "+"
        metavar = option.metavar or ("SECONDS" if option.kind is kinds.seconds else option.name.upper())
        self.add_argument(f"--{option.name}", type=option.kind, default=option.default, metavar=metavar, **how)

    # --- reading

    def read(self, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
        """Return the settings as given, and the rest of `argv`. An empty variable counts as not set.

        Raises WrongUsage.
        """
        argv = list(argv)
        self.refuse_bytes(argv)
        given = {name: value for name, value in environ.items() if value.strip()}
        try:
            self._default_config_files = own = own_file(argv, given) if self._has("ss-url") else []
            settings, rest = super().parse_known_args(argv, env_vars=given, namespace=Settings())
        except Broken as broken:
            self.error(str(broken))
        settings.timeouts, settings.rights = self.ini.timeouts, self.ini.rights
        settings.own_file = own[0] if own else None
        settings.told_server = self.source("ss-url")[0] < 3 and not own
        if self.command == "distributor":  # argparse takes the names of one place only
            settings.names += [word for word in rest if not word.startswith("-")]
            rest = [word for word in rest if word.startswith("-")]
        if self.ini.has_note:
            self.warnings.append(
                "ss-pass in the ini file ends before ' #' or ' ;', where a note begins;"
                " put the password in quotes if more belongs to it"
            )
        if self.ini.exposed:
            self.warn_exposed("ss-pass", self.ini.exposed)
        return settings, rest

    def _has(self, name: str) -> bool:
        return any(option.name == name for option in self.options)

    def opened(self, path: str) -> IO[str]:
        """Open an ini file; a file that cannot be read is wrong usage."""
        try:
            return open(path, encoding="utf-8-sig")
        except OSError as error:
            self.error(f"cannot read {path}: {error.strerror}")

    # --- errors

    def source(self, name: str) -> tuple[int, str]:
        """Return the source of an option: a rank, of which the lowest wins, and a name; (3, "") is the default."""
        variable = Option.variable_of(name)
        for source, given in getattr(self, "_source_to_settings", {}).items():
            if source == "command_line" and any(word.split("=", 1)[0] == f"--{name}" for word in given[""][1]):
                return 0, "the command line"
            if source == "environment_variables" and variable in given:
                return 1, variable
            if source.startswith("config_file|") and name in given:
                return 2, source.partition("|")[2]
        return 3, ""

    def refuse_rest(self, rest: Sequence[str]) -> None:
        """Refuse unknown arguments, without their values: one may be part of a password with a blank."""
        names = [word.split("=", 1)[0] for word in rest if word.startswith("-")]
        if names:
            self.error(f"unknown option {names[0]}{nearest(names[0], self._option_string_actions)}")
        if rest:
            self.error("one word too many; quote a value that has spaces")

    def refuse_bytes(self, argv: Sequence[str]) -> None:
        """Refuse an argument that is not UTF-8: it would fail later, where it is sent or printed."""
        for number, word in enumerate(argv, 1):
            if any("\udc80" <= character <= "\udcff" for character in word):
                self.error(f"word {number} of the command line is not UTF-8 text")

    def warn_exposed(self, what: str, file: str) -> None:
        """Warn of a file with a secret that every user can read."""
        self.warnings.append(f"everybody can read {what} in {file}; chmod o-r {file}")

    def error(self, message: str) -> NoReturn:
        """Raise WrongUsage with the option, and its source if that is not the command line."""
        message = message.removeprefix("argument ")
        rank, place = self.source(message.partition(":")[0].removeprefix("--"))
        raise WrongUsage(f"{message} (in {place})" if rank in (1, 2) else message)
