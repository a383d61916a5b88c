"""ConfigArgParse with our manners: one line for what is wrong, naming where it stands, and no secret in it."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NoReturn

import configargparse

from geventjob.config import kinds
from geventjob.config.ini import Broken, IniFile, opened
from geventjob.config.options import COMMANDS, Option, default_data_dir, options

DESCRIPTIONS = {
    "executor": "Take jobs off the queue and run their actions.",
    "distributor": "Create jobs on a schedule; of all processes that run one distributor, one leads.",
    "server": "The job server: jobs behind HTTP, in SlipStream's CIMI API.",
    "up": "Server, executor and distributors on this machine, as one.",
    "client": "Submit jobs and look after them.",
}
EPILOG = "A flag counts before the environment, that before the ini file, that before the default."


def refuse(command: str, message: str) -> NoReturn:
    """End the process as for wrong usage: one line on stderr, exit code 2."""
    print(f"{COMMANDS[command]}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


class Gather(argparse.Action):
    """The values of all occurrences in one list."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        lists = values if self.nargs else [values]
        gathered = [item for one in lists for item in one]
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *gathered])


class Parser(configargparse.ArgumentParser):  # type: ignore[misc]
    """The parser of one command, with all its options; see `parse`."""

    def __init__(self, command: str, add_help: bool = True) -> None:
        self.command = command
        self.options = options(command)
        self.ini = IniFile({option.name for option in self.options}, timeouts=command in ("executor", "up"))
        super().__init__(
            prog=COMMANDS[command],
            description=DESCRIPTIONS[command],
            epilog=EPILOG,
            add_help=add_help,
            allow_abbrev=False,
            add_config_file_help=False,
            add_env_var_help=False,
            config_file_parser_class=self.ini,
            config_file_open_func=opened,
            args_for_setting_config_path=["-c", "--config"],
            config_arg_help_message="ini file with options, and perhaps a section [timeouts] of ACTION = SECONDS",
        )
        if add_help:
            self.add_argument("--version", action="version", version=f"geventjob {version('geventjob')}")
        for option in self.options:
            self.declare(option)
        if command == "distributor":
            self.add_argument("names", metavar="NAME", nargs="*", help="distributor to run")
            self.add_argument("--all", action="store_true", help="run all that are found")

    def declare(self, option: Option) -> None:
        """Add one option of the table."""
        told = f"{option.help} (default {option.default_text}; ${option.variable})".replace("%", "%%")
        if option.switch:
            self.add_argument(f"--{option.name}", action="store_true", help=told, env_var=option.variable)
            return
        how: dict[str, Any] = {"action": Gather} if option.many else {}
        if option.many and self.command != "distributor" and option.name.endswith(("-hosts", "-list")):
            how["nargs"] = "+"  # SlipStream's; a distributor's NAME… would be taken for hosts
        default = list(option.default) if option.many and option.default is not None else option.default
        metavar = option.metavar or ("SECONDS" if option.kind is kinds.seconds else option.name.upper())
        self.add_argument(
            f"--{option.name}",
            type=option.kind,
            default=default,
            metavar=metavar,
            help=told,
            env_var=option.variable,
            **how,
        )

    def read(self, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Namespace, list[str]]:
        """Settings as they were given, and what is left of `argv`. A variable that is empty is not set."""
        argv = list(argv)
        given = {name: value for name, value in environ.items() if value.strip()}
        try:
            self._default_config_files = self.own_file(argv, given)
            settings, rest = super().parse_known_args(argv, env_vars=given)
        except Broken as broken:
            self.error(str(broken))
        settings.timeouts = self.ini.timeouts
        if self.ini.exposed:
            self.warn(f"{self.ini.exposed} holds ss-pass and everybody can read it: chmod o-r {self.ini.exposed}")
        return settings, rest

    def own_file(self, argv: list[str], environ: Mapping[str, str]) -> list[str]:
        """`<data-dir>/client.ini` of `geventjob up`, for a client that is told neither a file nor a server."""
        if not any(option.name == "ss-url" for option in self.options):
            return []
        look = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        look.error = lambda message: None  # type: ignore[method-assign,assignment,return-value]
        look.add_argument("-c", "--config")
        look.add_argument("--ss-url", default=environ.get("GEVENTJOB_SS_URL"))
        look.add_argument("--data-dir", default=environ.get("GEVENTJOB_DATA_DIR") or default_data_dir())
        told = look.parse_known_args(argv)[0]
        file = os.path.join(os.path.expanduser(told.data_dir), "client.ini")
        return [] if told.config or told.ss_url or not os.access(file, os.R_OK) else [file]

    def source(self, name: str) -> tuple[int, str]:
        """Where an option was given: a rank, lower counts first, and a word for it. (3, "") is the default."""
        for source, given in self._source_to_settings.items():
            if source == "command_line" and any(a.split("=", 1)[0] == f"--{name}" for a in given[""][1]):
                return 0, "the command line"
            if source == "environment_variables" and self.variable(name) in given:
                return 1, self.variable(name)
            if source.startswith("config_file|") and name in given:
                return 2, source.partition("|")[2]
        return 3, ""

    @staticmethod
    def variable(name: str) -> str:
        return f"GEVENTJOB_{name.upper().replace('-', '_')}"

    def password(self, settings: Namespace) -> str | None:
        """`ss-pass`, or the first line of `ss-pass-file`: whichever was given in the place that counts first."""
        own, file = self.source("ss-pass"), self.source("ss-pass-file")
        if settings.ss_pass and settings.ss_pass_file and own[0] == file[0]:
            self.error(f"--ss-pass and --ss-pass-file are both given in {own[1]}: one is enough")
        if not settings.ss_pass_file or own[0] < file[0]:
            return settings.ss_pass  # type: ignore[no-any-return]
        with open(settings.ss_pass_file, encoding="utf-8", errors="replace") as lines:
            line = lines.readline(10_000).rstrip("\r\n")
        if not line:
            self.error(f"--ss-pass-file: {settings.ss_pass_file} is empty")
        return line

    def check(self, settings: Namespace) -> None:
        """What must be given, and what does not go together."""
        if self.command in ("executor", "distributor") and not (settings.ss_user and settings.ss_pass):
            self.error("--ss-user and --ss-pass-file (or --ss-pass, or $GEVENTJOB_SS_PASS) are needed")
        if self.command == "distributor" and bool(settings.names) == settings.all:
            self.error("name the distributors to run, or give --all")

    def refuse_rest(self, rest: Sequence[str]) -> None:
        """Arguments that nobody knows. Values are not shown: one might be a password that was quoted badly."""
        if rest:
            names = [a.split("=", 1)[0] for a in rest if a.startswith("-")]
            self.error(
                f"unknown option {names[0]}" if names else "a word too many on the command line; quote what has spaces"
            )

    def warn(self, message: str) -> None:
        print(f"{self.prog}: warning: {message}", file=sys.stderr)

    def error(self, message: str) -> NoReturn:
        """One line that names the option and where it was given; exit code 2."""
        message = message.removeprefix("argument ")
        name = message.partition(":")[0].removeprefix("--")
        place = self.source(name) if hasattr(self, "_source_to_settings") else (0, "")
        refuse(self.command, message + (f" (in {place[1]})" if 0 < place[0] < 3 else ""))
