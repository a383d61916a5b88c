"""The Python files and the commands of README and docs load and parse as they stand."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from geventjob import config
from geventjob.cli.command_tree import CommandTree
from geventjob.cli.main import command_at
from geventjob.plugins import find_actions, find_distributors
from tests.support.examples import PAGES, ROOT, command_lines, files, python_blocks

WITH_PYTHON = [page for page in PAGES if python_blocks(page)]
WITH_COMMANDS = [page for page in PAGES if list(command_lines(page))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_every_file_of_python_names_itself_and_is_found(page: Path, tmp_path: Path) -> None:
    found = files(page)
    assert len(found) == len(python_blocks(page)), "each block begins with `# actions/NAME.py` or the like"
    for folder in ("actions", "distributors"):
        (tmp_path / folder).mkdir()
    for name, text in found.items():
        assert name.split("/")[0] in ("actions", "distributors", "scripts", "tests"), name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        compile(text, name, "exec")
    actions = find_actions([str(tmp_path / "actions")])
    distributors = find_distributors([str(tmp_path / "distributors")])
    assert not actions.failures
    assert not distributors.failures
    sources = {spec.source for each in (actions, distributors) for spec in map(each.get, each.names) if spec}
    assert {str(tmp_path / name) for name in found if name.startswith(("actions/", "distributors/"))} <= sources


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_every_line_of_the_command_parses(page: Path) -> None:
    for words in command_lines(page):
        if "up" in words[:3]:
            _, rest = config.OptionParser("up").parse_known_args([word for word in words if word != "up"])
            assert not rest, words
        else:
            CommandTree().parse(words[command_at(words) :], argparse.Namespace())
