"""Settings of the commands: flag > environment `GEVENTJOB_<OPTION>` > ini file (`-c FILE`) > default.

settings = parse("executor")        # from sys.argv; wrong usage is one line on stderr and exit code 2
settings.threads                    # an option's name with `_`
settings.timeouts                   # dict of action name to seconds: the ini's section [timeouts]
settings.rights                     # dict of user to patterns of actions: the ini's section [rights]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from geventjob.config.completion import complete
from geventjob.config.ini import as_ini
from geventjob.config.nearest import nearest
from geventjob.config.options import COMMANDS, Option, default_data_dir, options
from geventjob.config.parser import Formatter, OptionParser, WrongUsage, refuse
from geventjob.config.settings import Settings
from geventjob.title import hide_secrets

__all__ = [
    "COMMANDS",
    "Formatter",
    "Option",
    "OptionParser",
    "Settings",
    "WrongUsage",
    "as_ini",
    "default_data_dir",
    "hide_secrets",
    "nearest",
    "options",
    "parse",
    "parse_known",
    "read",
    "refuse",
]


def parse(command: str, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a command: executor, distributor, server, up or client.

    Wrong usage prints one line on stderr and ends the process with exit code 2.
    """
    parser = OptionParser(command)
    with _told(parser):
        return read(parser, sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)


def read(parser: OptionParser, argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings without a word on stderr; `parser.warnings` has the warnings. Raises WrongUsage."""
    settings, rest = parser.read(argv, environ)
    parser.refuse_rest(rest)
    return complete(parser, settings)


def parse_known(
    command: str, argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings as `parse` does, and in their order the arguments of others; `--help` is among these."""
    parser = OptionParser(command, add_help=False)
    with _told(parser):
        settings, rest = parser.read(argv, os.environ if environ is None else environ)
        return complete(parser, settings), rest


@contextmanager
def _told(parser: OptionParser) -> Iterator[None]:
    """Print warnings and wrong usage on stderr, a line each."""
    try:
        yield
    except WrongUsage as wrong:
        print(f"{parser.prog}: {wrong.message}", file=sys.stderr)
        raise
    finally:
        for warning in parser.warnings:
            print(f"{parser.prog}: warning: {warning}", file=sys.stderr)
