"""The log-in of a command: user and password, or API key and secret, from the source of higher precedence."""

from __future__ import annotations

import argparse
import glob
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from geventjob.config.options import default_data_dir
from geventjob.config.settings import Settings

if TYPE_CHECKING:
    from geventjob.config.parser import OptionParser

LONGEST_PASSWORD = 10_000
"""Characters that are read of a secret."""


def own_file(argv: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return `<data-dir>/client.ini` of `geventjob up`, for a client that names neither a file nor a server.

    The file has a log-in for its own server, which no other server must get.
    """
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    look.add_argument("-c", "--config")
    look.add_argument("--ss-url", default=environ.get("GEVENTJOB_SS_URL"))
    look.add_argument("--data-dir", default=environ.get("GEVENTJOB_DATA_DIR") or default_data_dir())
    try:
        told = look.parse_known_args(argv)[0]
    except argparse.ArgumentError:  # the main parser reports the error
        return []
    if told.config or told.ss_url or not told.data_dir:
        return []
    file = os.path.join(os.path.expanduser(told.data_dir), "client.ini")
    return [glob.escape(file)] if os.access(file, os.R_OK) else []


def log_in(parser: OptionParser, settings: Settings) -> None:
    """Keep either user or key, with password or secret: whichever came from the source of higher precedence."""
    user, key = parser.source("ss-user"), parser.source("ss-key")
    if settings.ss_user and settings.ss_key and user == key:
        parser.error(f"--ss-user and --ss-key are both given in {key[1]}: one is enough")
    if bool(settings.ss_key) != bool(settings.ss_secret_file):
        given, missing = ("ss-key", "ss-secret-file") if settings.ss_key else ("ss-secret-file", "ss-key")
        parser.error(f"--{given}: --{missing} is needed with it")
    settings.ss_secret = None
    if key < user:
        settings.ss_user = settings.ss_pass = None
        settings.ss_secret = read_secret(parser, "ss-secret-file", settings.ss_secret_file, "secret")
    else:
        settings.ss_key = None
        settings.ss_pass = _password(parser, settings)


def _password(parser: OptionParser, settings: Settings) -> str | None:
    """Return the password of `ss-pass` or `ss-pass-file`, whichever came from the source of higher precedence."""
    own, file = parser.source("ss-pass"), parser.source("ss-pass-file")
    if settings.ss_pass and settings.ss_pass_file and own == file:
        parser.error(f"--ss-pass and --ss-pass-file are both given in {own[1]}: one is enough")
    if settings.ss_pass_file and file < own:
        return read_secret(parser, "ss-pass-file", settings.ss_pass_file)
    return settings.ss_pass  # type: ignore[no-any-return]


def read_secret(parser: OptionParser, option: str, file: str, what: str = "password") -> str:
    """Return the password or other secret in the first line of a file."""
    try:
        with open(file, encoding="utf-8") as lines:
            line = lines.readline(LONGEST_PASSWORD).rstrip("\r\n")
            exposed = os.fstat(lines.fileno()).st_mode & stat.S_IROTH
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--{option}: cannot read {file}: {getattr(error, 'strerror', 'not UTF-8 text')}")
    if not line:
        parser.error(f"--{option}: expected a {what} in the first line of {file}, which is empty")
    if exposed:
        parser.warn_exposed(f"a {what}", file)
    return line
