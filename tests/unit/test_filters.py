"""Quoting of values in filters of clients, checked with the grammar of the server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.cimi.filters import quoted
from geventjob.server.filter import Compare, parse


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_value_is_read_as_it_was(value: str) -> None:
    try:
        text = quoted(value)
    except ValueError:
        assert {"'", '"'} <= set(value) or value.endswith("\\")
        return
    assert parse(f"action={text}") == Compare(("action",), "=", value)


@pytest.mark.parametrize("value", ["both ' and \"", "ends in \\"])
def test_what_cannot_be_quoted_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a filter"):
        quoted(value)
