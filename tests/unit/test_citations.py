"""The repository has each thing that code, tests and pages cite: pages, headings, rules, decisions and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["actions", "bench", "conf", "distributors", "docs", "examples", "findings"]
FOLDERS += ["geventjob", "package", "slipstream", "tests", "tools"]
ENDINGS = {".ini", ".lark", ".md", ".py", ".sh", ".toml", ".yml", ""}
GONE = re.compile(r"\b(?:DESIGN|FINDINGS|CALENDARS)\b|\bCIMI(?:\.md| §)")
"""Names of notes that never were in the repository."""
MAY_NAME = {"tools/docstrings.py", "tests/unit/test_docstrings.py", "tests/unit/test_citations.py"}
"""Files that refuse the names, and so have to name them."""
FROM = [ROOT, ROOT / "geventjob", ROOT / "geventjob/server"]
"""Folders from which the path of a file is given."""
BREAK = r"\s+(?:#\s+|//\s+)?"
PAGE = r"(?<![\w./-])docs/(?:[\w-]+/)*[\w-]+\.md\b"
HEADING = re.compile(rf'({PAGE})`?,?{BREAK}(?:under{BREAK})?"([^"]+)"')
DECISION = re.compile(r"(?<![\w./-])docs/decisions/(\d{4})\b")
RULE = re.compile(rf'"Delivery{BREAK}contract",?{BREAK}rules?{BREAK}(\d+)(?:(?:,| and| to){BREAK}(\d+))*')
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
FILE = re.compile(r"`((?:\./)?[\w-]+(?:/[\w.-]+)*/[\w-]+\.(?:ini|lark|md|py|sh|toml|yml))`")
EXAMPLE = re.compile(r"^# ([\w/]+\.py)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@cache
def texts() -> dict[Path, str]:
    """Return the text of each file that people write."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in {".md", ".toml", ".py", ""}]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    wanted = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    return {path: path.read_text(encoding="utf-8", errors="replace") for path in sorted(wanted)}


@cache
def headings(page: Path) -> tuple[str, ...]:
    """Return the headings of a page, without the code in its fences, which may have lines that begin with #."""
    return tuple(re.findall(r"^#+ (.+?) *$", FENCE.sub("", texts()[page]), re.MULTILINE))


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def cited(pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield each citation of this form with the file that it stands in."""
    for path, text in texts().items():
        for match in pattern.finditer(text):
            yield path, match


def place(path: Path, match: re.Match[str]) -> str:
    """Return a citation with its file and line, for a message."""
    line = match.string.count("\n", 0, match.start()) + 1
    return f"{path.relative_to(ROOT)}:{line}: {match[0]}"


def test_notes_that_are_not_in_the_repository_are_not_cited() -> None:
    found = [(path, match) for path, match in cited(GONE) if str(path.relative_to(ROOT)) not in MAY_NAME]
    assert [place(path, match) for path, match in found] == []


def test_every_page_that_is_cited_exists() -> None:
    found = list(cited(re.compile(PAGE)))
    assert len(found) > 50
    assert [place(path, match) for path, match in found if not (ROOT / match[0]).exists()] == []


def test_every_heading_that_is_cited_exists() -> None:
    found = list(cited(HEADING))
    assert found
    wrong = [
        place(path, match)
        for path, match in found
        if re.sub(BREAK, " ", match[2]) not in [heading.replace("`", "") for heading in headings(ROOT / match[1])]
    ]
    assert wrong == []


def test_every_decision_that_is_cited_exists() -> None:
    found = list(cited(DECISION))
    assert found
    missing = [place(*each) for each in found if not list((ROOT / "docs/decisions").glob(f"{each[1][1]}-*.md"))]
    assert missing == []


def test_every_rule_of_the_delivery_contract_that_is_cited_exists() -> None:
    (contract,) = re.findall(
        r"^## Delivery contract\n(.*?)^#", texts()[ROOT / "docs/architecture.md"] + "\n#", re.S | re.M
    )
    rules = re.findall(r"^(\d+)\. ", contract, re.MULTILINE)
    assert rules == [str(number) for number in range(1, len(rules) + 1)]
    assert [
        place(path, match) for path, match in cited(RULE) if not set(re.findall(r"\d+", match[0])) <= set(rules)
    ] == []


@pytest.mark.parametrize(
    "page", [path for path in texts() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Check each link of a page; a page below docs links to no file outside, which the HTML does not have."""
    wrong = []
    inside = ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT
    for match in LINK.finditer(FENCE.sub("", texts()[page])):
        target = (page.parent / match[1]).resolve() if match[1] else page
        if (
            not target.exists()
            or not target.is_relative_to(inside)
            or (match[2] and match[2] not in map(anchor, headings(target)))
        ):
            wrong.append(match[0])
    assert wrong == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.rst").read_text()
    named = {f"{name}.md" for name in re.findall(r"^   ([\w/-]+)$", index, re.MULTILINE)}
    there = {str(page.relative_to(ROOT / "docs")) for page in texts() if page.is_relative_to(ROOT / "docs")}
    pages = {page for page in there if page.endswith(".md") and not page.startswith("decisions/")}
    assert named - {"decisions/index.md"} == pages


def test_every_file_in_backticks_exists() -> None:
    examples = {name for text in texts().values() for name in EXAMPLE.findall(text)}
    wrong = [
        place(path, match)
        for path, match in cited(FILE)
        if match[1] not in examples and not any((folder / match[1]).exists() for folder in (*FROM, path.parent))
    ]
    assert wrong == []
