"""The number of the oldest entries among those that a process takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventjob.coordination.ages import AgeShare


@given(share=st.integers(1, 20), takes=st.lists(st.integers(0, 50)))
def test_one_entry_in_so_many_is_due_however_many_are_taken_at_a_time(share: int, takes: list[int]) -> None:
    ages = AgeShare(share)
    due = 0
    for taken in takes:
        due += ages.due(taken)
        assert ages.ready(taken) >= ages.due(taken)
        ages.count(taken)
    assert due == sum(takes) // share


@given(takes=st.lists(st.integers(0, 50)))
def test_none_is_due_without_a_share(takes: list[int]) -> None:
    ages = AgeShare(0)
    for taken in takes:
        assert (ages.due(taken), ages.ready(taken)) == (0, 0)
        ages.count(taken)
