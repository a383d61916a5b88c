"""The parsers of `geventjob`: each module is loaded for its own commands only, and declares what the table says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geventjob.cli.command_tree import COMMANDS, CommandTree

LATE = ("requests", "msgspec", "setproctitle", "importlib.metadata", "rich", "geventjob.cimi.client")
"""Modules that take most of the time of a start."""


def loaded(*arguments: str) -> set[str]:
    """Return the modules that a command line has loaded when it ends."""
    code = "import sys\nfrom geventjob.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True, check=False).stderr.split())


@pytest.mark.parametrize(
    ("line", "wanted"), [(["--help"], set()), (["queue", "--help"], {"geventjob.cli.fleet"})], ids=["help", "queue"]
)
def test_a_command_loads_its_own_module_and_none_that_takes_long(line: list[str], wanted: set[str]) -> None:
    modules = loaded(*line)
    assert "geventjob.cli.command_tree" in modules
    assert modules & {f"geventjob.cli.{module}" for module in COMMANDS} == wanted
    assert modules.isdisjoint(LATE)


def test_each_module_declares_its_commands() -> None:
    tree = CommandTree()
    tree.load()
    for commands in COMMANDS.values():
        for name in commands:
            assert tree.parsers[name].get_default("run") or tree.parsers[name].get_default("local"), name
