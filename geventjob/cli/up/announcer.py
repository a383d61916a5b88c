"""Lines for the user at the terminal of `geventjob up`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

from geventjob import config
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError
from geventjob.cli.connection import connect
from geventjob.cli.fleet import left_out
from geventjob.cli.up.child import Child, die_with
from geventjob.cli.up.folder import DataFolder
from geventjob.isolated import isolated


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


class Announcer:
    """The welcome, files that a child left out, and the state of a stop."""

    def __init__(self, settings: config.Settings, folder: DataFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._client: Client | None = None
        self._seen: set[int] = set()
        """Process ids of children that were seen at work."""

    @property
    def welcomed(self) -> bool:
        """Whether all children were seen at work."""
        return bool(self._seen)

    def look_at(self, children: Sequence[Child]) -> None:
        """Print the welcome once all children are at work, and the files that each new child left out."""
        new = {child.pid for child in children if child.pid and child.pid not in self._seen}
        if not new:
            return
        first = not self._seen
        nodes = {node["pid"]: node for node in self._nodes() if node.get("pid") in new}
        if nodes.keys() != new or (len(new) < len(children) and first):
            return
        self._seen |= new
        if first:
            self._welcome()
        for node in nodes.values():
            for line in left_out(node):
                say(line)

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the processes at work; none while the server is away."""
        if self._client is None:
            settings = config.parse("client", ["-c", str(self._folder.client_ini)], {})
            self._client = connect(settings, patience=0.0, timeout=(1, 5))
        try:
            return self._client.nodes()
        except CimiError:
            return []

    def _welcome(self) -> None:
        folder, command = self._folder, self._folder.command_line
        found = "a change is found at once" if self._settings.reload else "found at start; --reload finds changes"
        say(
            f"geventjob is up: {folder.url}, user super, password in {folder.client_ini}\n"
            f"actions:      {folder.actions_dir}/*.py ({found})\n"
            f"distributors: {folder.distributors_dir}/*.py (run by --distributor NAME)\n"
            f"logs:         {folder.log_dir}/*.log\n"
            f"in a second terminal:\n"
            f"    {command} submit dummy_test_action --wait"
        )
        if self._settings.demo:
            parent = os.getpid()
            demo = isolated("geventjob.cli.up.demo", str(folder.client_ini), command)
            subprocess.Popen(demo, preexec_fn=lambda: die_with(parent))  # noqa: S603, PLW1509

    def stopping(self, names: Sequence[str]) -> None:
        """Print which children a stop waits for, and how many jobs run."""
        if "executor" not in names:
            say(f"stopping: waiting for {' and '.join(names)}")
            return
        running = sum(node.get("running", 0) for node in self._nodes())
        longest = self._settings.shutdown_timeout
        say(f"stopping: {running} jobs run and have {longest:g} s to end; Ctrl-C again gives them back at once")
