"""The counts of tools/docstrings.py, which `make check` holds to limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import docstrings

MODULE = '''
"""A module that names the thing."""

LIMIT = 3
"""Seconds `that` it waits."""


class Thing:
    """Things."""

    @property
    def size(self):
        """The size."""

    def good(self):
        """Return the size."""

    def bad(self):
        """What it returns."""

    def silent(self):
        pass


def test_nothing():
    """The test."""
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(docstrings, "TOP", tmp_path)
    (tmp_path / "module.py").write_text(MODULE)
    return tmp_path / "module.py"


def test_docstrings_of_functions_count_but_for_properties_and_tests(module: Path) -> None:
    count = docstrings.measure(module)
    assert (count.functions, count.verbs) == (2, 1)
    assert count.findings == ["module.py:18: What it returns."]
    assert not count.passes


def test_pronouns_count_in_every_docstring_outside_of_code(module: Path) -> None:
    count = docstrings.measure(module)
    assert (count.words, count.pronouns) == (20, 4)  # that, it, what, it


@pytest.mark.parametrize(("line", "found"), [("as DESIGN §5 says", ["DESIGN"]), ("a designed thing", [])])
def test_banned_words_are_found_by_case(module: Path, line: str, found: list[str]) -> None:
    page = module.with_name("page.md")
    page.write_text(f"first\n{line}\n")
    assert docstrings.banned(page) == [f"page.md:2: {word}" for word in found]
