"""The examples of README and docs: Python files, and lines of `geventjob`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# ([\w/]+\.py)\n")


def python_blocks(page: Path) -> list[str]:
    """Return the Python of a page, block by block."""
    return [text for language, text in BLOCK.findall(page.read_text()) if language == "python"]


def files(page: Path) -> dict[str, str]:
    """Return the Python files of a page by their paths, which stand in their first lines."""
    return {NAMED.match(text)[1]: text for text in python_blocks(page) if NAMED.match(text)}  # type: ignore[index]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words behind `geventjob` of each line of a code block that calls it."""
    for language, text in BLOCK.findall(page.read_text()):
        if language in ("", "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                if called := re.match(r"(?:\.venv/bin/|sudo )?geventjob (?!\[)(.*)", line):
                    yield shlex.split(called[1].partition(" #")[0].partition(" | ")[0])
