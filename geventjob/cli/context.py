"""The context that each command of `geventjob` works with."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from geventjob.cimi.client import Client
    from geventjob.cli.screen import Screen

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds of trying for a server that is away, unless `--timeout` is given."""


class CommandContext:
    """One command of a command line, with its client, output and arguments."""

    def __init__(
        self,
        client: Client,
        screen: Screen,
        args: Namespace,
        own_password: str | None = None,
        command: str = "geventjob",
    ) -> None:
        """Keep the parts.

        `own_password`: the password of the user that the client logs in as. `command`: the command line up to the name
        of the command, with which hints begin.
        """
        self.client = client
        self.screen = screen
        self.args = args
        self.own_password = own_password
        self.command = command

    @property
    def patience(self) -> float:
        """Seconds of trying for a server that is away."""
        return self.args.timeout if self.args.timeout is not None else PATIENCE

    def ask(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the client, again and again for `patience` seconds while the server is away. Raises CimiError."""
        from geventjob.cimi.patience import patiently  # loads logging, which `--help` does without

        return patiently(lambda: call(*args, **kwargs), self.patience)


class Commands(Protocol):
    """The place where a module declares its commands."""

    def add(self, name: str, run: Callable[[CommandContext], int], description: str | None = None) -> Any:
        """Declare a command of the table `command_tree.COMMANDS`, and return the parser for its own arguments.

        The description, without one the help of the table, is shown by the `--help` of the command.
        """

    def add_subcommands(self, parser: Any, **options: Any) -> Callable[[str, Callable[..., int], str], Any]:
        """Let a command have subcommands, and return `add(name, run, help)`, which returns the parser of one.

        `options` are arguments of `ArgumentParser.add_subparsers`.
        """

    def add_local(self, name: str, run: Callable[[Screen, Namespace], int]) -> Any:
        """Declare a command that asks no server, and return the parser for its own arguments."""
