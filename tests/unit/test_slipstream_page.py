"""The tables of docs/slipstream.md, "Side by side", are true of the options and of the packages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geventjob.config import options

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "slipstream.md").read_text()
UNITS = TOP / "package" / "units"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("row", rows("Flags"), ids=lambda row: row[0])
def test_a_flag_is_an_option_with_this_default(row: list[str]) -> None:
    ours = {f"--{option.name}": option for option in options("executor")}
    flags = re.findall(r"`(--[\w-]+)`", row[0])
    assert flags
    assert {ours[flag].default_text for flag in flags} == {row[2].strip("`")}
    assert set(re.findall(r"`(--[\w-]+)`", row[3])) <= ours.keys()


def test_the_names_of_units_and_files_are_those_of_the_packages() -> None:
    text = " ".join(cell for row in rows("Files") for cell in row)
    units = set(re.findall(r"`(slipstream-job-[\w@-]+?)(?:NAME)?\.service`", text))
    assert units == {"slipstream-job-executor", "slipstream-job-distributor@"}
    assert all((UNITS / f"{unit}.service").exists() for unit in units)
    (defaults,) = set(re.findall(r"`/etc/default/([\w-]+)`", text))
    assert (TOP / "package" / "default" / defaults).exists()
    common = (UNITS / "slipstream-job-.service.d" / "10-common.conf").read_text()
    assert f"GEVENTJOB_LOG_DIR={re.findall(r'`(/var/log/slipstream/log)`', text)[0]}" in common
    programs = set(re.findall(r"`(geventjob-\w+)[ `]", text))
    assert programs == {"geventjob-executor", "geventjob-distributor"}
