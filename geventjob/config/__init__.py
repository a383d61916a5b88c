"""Settings of the commands: flag > environment `GEVENTJOB_<OPTION>` > ini file (`-c FILE`) > default.

settings = parse("executor")        # from sys.argv; wrong usage is one line on stderr and exit code 2
settings.threads                    # an option's name with `_`
settings.timeouts                   # dict of action name to seconds: the ini's section [timeouts]
settings.rights                     # dict of user to patterns of actions: the ini's section [rights]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from geventjob.config.completion import complete
from geventjob.config.ini import as_ini
from geventjob.config.nearest import nearest
from geventjob.config.options import COMMANDS, Option, default_data_dir, options
from geventjob.config.parser import OptionParser, refuse
from geventjob.config.settings import Settings
from geventjob.title import hide_secrets

__all__ = [
    "COMMANDS",
    "Option",
    "OptionParser",
    "Settings",
    "as_ini",
    "default_data_dir",
    "hide_secrets",
    "nearest",
    "options",
    "parse",
    "parse_known",
    "refuse",
]


def parse(command: str, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a command: executor, distributor, server, up or client.

    Wrong usage prints one line on stderr and ends the process with exit code 2.
    """
    parser = OptionParser(command)
    settings, rest = parser.read(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
    parser.refuse_rest(rest)
    return complete(parser, settings)


def parse_known(
    command: str, argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings as `parse` does, and in their order the arguments of others; `--help` is among these."""
    parser = OptionParser(command, add_help=False)
    settings, rest = parser.read(argv, os.environ if environ is None else environ)
    return complete(parser, settings), rest
