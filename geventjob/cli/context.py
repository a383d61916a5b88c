"""What every command of `geventjob` works with, and how it ends (DESIGN §9)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from geventjob.cimi.errors import CimiError, Forbidden, Invalid, LoginRefused, NotFound, ServerAway
from geventjob.cimi.patience import patiently

if TYPE_CHECKING:
    from geventjob.cimi.client import Client
    from geventjob.cli.screen import Screen

T = TypeVar("T")

WELL, NO_SUCCESS, WRONG, OUT_OF_TIME, AWAY, REFUSED, NO_JOB = range(7)
"""The exit codes."""
INTERRUPTED = 130
CUT_OFF = 141
"""Whoever read our output has gone, as a shell reports SIGPIPE."""

PATIENCE = 10.0
"""Seconds of trying for a server that is away."""


class Wrong(Exception):
    """Wrong usage that the parser could not see."""


class OutOfTime(Exception):
    """What was waited for did not come in time."""


@dataclass
class Context:
    """One command of the line."""

    client: Client
    screen: Screen
    args: Namespace
    own_password: str | None = field(default=None, repr=False)
    """Of the user that the client logs in as."""
    command: str = "geventjob"
    """What to type for this command line up to its command: hints begin with it."""

    @property
    def patience(self) -> float:
        return self.args.timeout if self.args.timeout is not None else PATIENCE

    def ask(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """A call of the client, tried again for `--timeout` seconds while the server is away."""
        return patiently(lambda: call(*args, **kwargs), self.patience)


class Commands(Protocol):
    """Where a module declares its commands."""

    common: ArgumentParser
    """The options that all commands have, for those that have commands of their own."""

    def add(self, name: str, run: Callable[[Context], int], help: str, description: str | None = None) -> Any:
        """A parser for the command's own arguments."""

    def add_local(self, name: str, run: Callable[[Screen, Namespace], int], help: str) -> Any:
        """The same for a command that asks no server."""


def ending(error: CimiError, patience: float) -> tuple[int, str]:
    """The exit code and the one line for what the server, or its absence, brought the command to its end with."""
    if isinstance(error, LoginRefused):
        return REFUSED, str(error)
    if isinstance(error, Forbidden):
        return REFUSED, f"not allowed: {error}"
    if isinstance(error, ServerAway):
        return AWAY, f"the server is away, tried for {patience:g} s: {error}"
    codes: dict[type[CimiError], int] = {NotFound: NO_JOB, Invalid: WRONG}
    return codes.get(type(error), NO_SUCCESS), str(error)
