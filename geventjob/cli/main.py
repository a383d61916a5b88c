"""`geventjob`: submit jobs and look after them. gevent does not patch it, and each command loads its modules late."""

from __future__ import annotations

from geventjob.title import mask_early

mask_early()  # before the imports below, which take longer

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geventjob import config
from geventjob.cimi.errors import CimiError
from geventjob.cli.command_tree import CommandTree
from geventjob.cli.context import PATIENCE, CommandContext
from geventjob.cli.errors import UsageError, WaitTimedOut, explain
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

VALUED = {f"--{option.name}" for option in config.options("client") if not option.switch} | {
    "-c",
    "--config",
    "--timeout",
}
"""Options before the name of the command whose value is the next word."""
HINTED = {f"--{option.name}" for option in config.options("client") if not option.secret} | {"-c", "--config"}
"""Options that name the server and the user, and are repeated in hints."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    at = command_at(arguments)
    if at is not None and arguments[at] == "up":
        from geventjob.cli import up

        return up.main(arguments[:at] + arguments[at + 1 :])
    if at is not None and arguments[at] == "check":
        from geventjob.cli import check

        if check.is_checkup(arguments[at + 1 :]):
            check.checkup(arguments[:at], arguments[at + 1 :])
    try:
        code = run(arguments or ["--help"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
        return ExitCode.BROKEN_PIPE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def command_at(arguments: Sequence[str]) -> int | None:
    """Return the index of the command's name, the first word that is neither an option nor an option's value."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in VALUED else 1
    return at if at < len(arguments) else None


def command_line(arguments: Sequence[str]) -> str:
    """Return `geventjob` with the connection options of a command line, without the password, for hints."""
    words = ["geventjob"]
    for at, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if name in HINTED:
            words += arguments[at : at + (2 if name in VALUED and not equals else 1)]
    return shlex.join(words)


def run(arguments: list[str]) -> int:
    """Parse a command line, connect, run the command, and return its exit code."""
    if {"-h", "--help", "--version"} & set(arguments):
        CommandTree().parser.parse_args(arguments)  # ends the process
    settings, rest = config.parse_known("client", arguments)
    args = argparse.Namespace(json=False, timeout=None)
    CommandTree().parse(rest, args)

    from geventjob.cli.screen import Screen

    screen = Screen(json=args.json)
    try:
        if args.local:
            return int(args.local(screen, args))
        with connect(settings, args) as client:
            if not settings.told_server and not is_there(settings, screen):
                return ExitCode.SERVER_AWAY
            code: int = args.run(CommandContext(client, screen, args, settings.ss_pass, command_line(arguments)))
            client.log_out()
            return code
    except UsageError as error:
        config.refuse("client", str(error))
    except WaitTimedOut as error:
        screen.note(str(error))
        return ExitCode.TIMEOUT
    except CimiError as error:
        code, words = explain(error, args.timeout or PATIENCE)
        screen.note(words)
        return code


def is_there(settings: config.Settings, screen: Screen) -> bool:
    """Return whether to go on where no server was named; print how to start a server where none listens.

    A server that `geventjob up` has started before may be about to start again. Raises UsageError for a data folder
    that was named and has no log-in.
    """
    own = os.path.join(os.path.expanduser(settings.data_dir), "client.ini")
    if settings.data_dir and os.path.exists(own) and settings.own_file is None:
        raise UsageError(f"cannot read {own}: name a server with --ss-url or -c")
    if settings.own_file is None and settings.data_dir != config.default_data_dir():
        start = f"geventjob up --data-dir {settings.data_dir}"
        raise UsageError(f"--data-dir {settings.data_dir} has no client.ini: `{start}` writes one")
    import socket
    from urllib.parse import urlsplit

    address = urlsplit(settings.ss_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1).close()
    except ConnectionRefusedError:
        where = f"at {settings.ss_url}" + (f" ({settings.own_file})" if settings.own_file else "")
        screen.note(f"no server listens {where}: `geventjob up` starts one here, --ss-url names another")
        return settings.own_file is not None
    except OSError:
        pass  # the client reports the error
    return True


def connect(settings: config.Settings, args: argparse.Namespace) -> Any:
    """Return a client that has not connected yet, for one call at a time, none longer than `--timeout`."""
    from geventjob.cli import connection  # loads requests, which `--help` does without

    patience = args.timeout or PATIENCE
    try:
        return connection.connect(
            settings,
            connections=2,
            timeout=(min(5.0, patience), max(1.0, min(30.0, patience))),
            patience=patience,
        )
    except ValueError as error:
        raise UsageError(f"--ss-url: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
