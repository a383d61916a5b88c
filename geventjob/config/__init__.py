"""Settings of the commands: flag > environment `GEVENTJOB_<OPTION>` > ini file (`-c FILE`) > default.

settings = parse("executor")        # from sys.argv; wrong usage is one line on stderr and exit code 2
settings.threads                    # an option's name with `_`
settings.timeouts                   # dict of action name to seconds: the ini's section [timeouts]
settings.rights                     # dict of user to patterns of actions: the ini's section [rights]
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

from geventjob.config.ini import as_ini
from geventjob.config.nearest import nearest
from geventjob.config.options import COMMANDS, Option, default_data_dir, options
from geventjob.config.parser import OptionParser, refuse
from geventjob.config.settings import SECRET_FILES, Settings
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
    return finish(parser, settings)


def parse_known(
    command: str, argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings as `parse` does, and in their order the arguments of others; `--help` is among these."""
    parser = OptionParser(command, add_help=False)
    settings, rest = parser.read(argv, os.environ if environ is None else environ)
    return finish(parser, settings), rest


def finish(parser: OptionParser, settings: Settings) -> Settings:
    """Fill in values that come from other options or from this machine, and return the settings."""
    settings.data_dir = settings.data_dir or default_data_dir()
    for option in parser.options:
        value = getattr(settings, option.dest)
        if option.many:
            usual = [option.usual] if option.usual and os.path.isdir(option.usual) else []
            setattr(settings, option.dest, usual if value is None else list(value))
        if option.name == "name":
            settings.name = value or f"{socket.gethostname()}-{os.getpid()}"
        if option.name == "zk-hosts":
            settings.zk_hosts = ",".join(value or ()) or None
        if option.name == "ss-url":
            settings.ss_url = ",".join(value)
            parser.log_in(settings)
        if option.name in SECRET_FILES:
            what = "key" if "key" in option.name else "password"
            secret = parser.first_line(option.name, value, what) if value else None
            setattr(settings, SECRET_FILES[option.name], secret)
    parser.check(settings)
    return settings
