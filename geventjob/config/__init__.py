"""Settings of the commands: flag > environment `GEVENTJOB_<OPTION>` > ini file (`-c FILE`) > default.

settings = parse("executor")        # from sys.argv; wrong usage is one line on stderr and exit code 2
settings.threads                    # an option's name with `_`
settings.timeouts                   # dict of action name to seconds: the ini's section [timeouts]
"""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from geventjob.config.options import COMMANDS, Option, default_data_dir, options
from geventjob.config.parser import Parser, refuse
from geventjob.config.title import hide_secrets

__all__ = ["COMMANDS", "Option", "Parser", "hide_secrets", "options", "parse", "parse_known", "refuse"]

DROP_INS = {"actions_dir": "/etc/slipstream/actions", "distributors_dir": "/etc/slipstream/distributors"}


def parse(command: str, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Namespace:
    """The settings of a command: executor, distributor, server, up or client (DESIGN §9).

    Whatever is wrong is told in one line on stderr, and the process exits with 2.
    """
    parser = Parser(command)
    settings, rest = parser.read(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
    parser.refuse_rest(rest)
    return finish(parser, settings)


def parse_known(
    command: str, argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Namespace, list[str]]:
    """As `parse`, and the arguments that are none of the command's own, in their order. `--help` is one of these."""
    parser = Parser(command, add_help=False)
    settings, rest = parser.read(argv, os.environ if environ is None else environ)
    return finish(parser, settings), rest


def finish(parser: Parser, settings: Namespace) -> Namespace:
    """Fill in what one option takes from another, or from this machine."""
    settings.data_dir = settings.data_dir or default_data_dir()
    if hasattr(settings, "ss_url"):
        settings.ss_url = settings.ss_url if isinstance(settings.ss_url, str) else ",".join(settings.ss_url)
        settings.ss_pass = parser.password(settings)
    if hasattr(settings, "zk_hosts"):
        settings.zk_hosts = ",".join(settings.zk_hosts or ()) or None
    if getattr(settings, "name", "") is None:
        settings.name = f"{socket.gethostname()}-{os.getpid()}"
    for dest, usual in DROP_INS.items():
        if getattr(settings, dest, ()) is None:
            setattr(settings, dest, [usual] if Path(usual).is_dir() else [])
    parser.check(settings)
    return settings
