"""Names of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.coordination.names import distance, entry_path, parse_entry


@pytest.mark.parametrize(
    ("priority", "sequence", "path"),
    [
        (999, 42, "/job/entries/entry-999-0000000042"),
        (0, 0, "/job/entries/entry-000-0000000000"),
        (7, 2**31 - 1, "/job/entries/entry-007-2147483647"),
        (7, 2**31, "/job/entries/entry-007--2147483648"),
        (7, 2**32 - 1, "/job/entries/entry-007--000000001"),
        (7, 2**32, "/job/entries/entry-007-0000000000"),
    ],
)
def test_an_entry_is_named_as_zookeeper_names_it(priority: int, sequence: int, path: str) -> None:
    """The counter is a signed number of 32 bits, printed as by Java's `%010d`."""
    assert entry_path(priority, sequence) == path


@given(priority=st.integers(0, 999), sequence=st.integers(0, 2**40))
def test_a_name_tells_what_it_was_made_of(priority: int, sequence: int) -> None:
    parsed = parse_entry(entry_path(priority, sequence))
    assert parsed is not None
    assert parsed[0] == priority
    assert (parsed[1] - sequence) % 2**32 == 0


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/job/entries/",
        "entry-999-0000000042",
        "/job/entries/entry-99-0000000042",
        "/job/entries/entry-999-42",
        "/job/entries/entry-999-0000000042/",
        "/job/entries/entry-999-0000000042\n",
        "/job/entries/entry-999-10000000000",
        "/job/entries/entry-999--9999999999",
        "/job/entries/entry-999--0000000001",
        "/job/entries/entry-999-00000000٤2",
        "/job/taken/entry-999-0000000042",
    ],
)
def test_what_is_no_entry_is_told(path: str) -> None:
    assert parse_entry(path) is None


@given(a=st.integers(0, 2**40), ahead=st.integers(-(2**31) + 1, 2**31 - 1))
def test_the_older_of_two_is_told_across_the_wrap(a: int, ahead: int) -> None:
    older, newer = parse_entry(entry_path(1, a)), parse_entry(entry_path(1, a + ahead))
    assert older is not None
    assert newer is not None
    assert distance(newer[1], older[1]) == ahead
