"""No dependency may be of a version with a known vulnerability; `tools/known-vulnerabilities` is the list."""

from __future__ import annotations

import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def numbers(text: str) -> list[int]:
    """Return a version as four numbers that compare."""
    return [*(int(part) for part in re.findall(r"\d+", text)), 0, 0, 0, 0][:4]


def known() -> dict[str, str]:
    """Return the first version without a known vulnerability, by package."""
    lines = (TOP / "tools" / "known-vulnerabilities").read_text().splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if line and not line.startswith("#")}


def floors() -> dict[str, str]:
    """Return the oldest version that pyproject.toml accepts, by package."""
    text = (TOP / "pyproject.toml").read_text()
    listed = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    return dict(re.findall(r'"([A-Za-z0-9-]+)>=([\d.]+)', listed))


def test_the_list_has_entries() -> None:
    assert {"gevent", "requests", "urllib3"} <= known().keys()


@pytest.mark.parametrize("package", known())
def test_no_version_with_a_known_vulnerability_is_taken_or_installed(package: str) -> None:
    assert numbers(floors()[package]) >= numbers(known()[package])
    assert numbers(version(package)) >= numbers(known()[package])


def test_every_dependency_has_a_floor() -> None:
    own = [re.split(r"[<>=; ]", line)[0] for line in requires("geventjob") or () if "extra" not in line]
    assert sorted(own) == sorted(floors())
