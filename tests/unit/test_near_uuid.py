"""Ids whose neighbours in time are neighbours in an index."""

from __future__ import annotations

import time
import uuid

import pytest

from geventjob.near_uuid import DIGITS, SLOT, is_fresh, near_uuid

START = 1_764_000_000


def made_at(monkeypatch: pytest.MonkeyPatch, second: float) -> uuid.UUID:
    monkeypatch.setattr(time, "time_ns", lambda: int((START + second) * 1e9))
    return uuid.UUID(near_uuid())


def test_it_is_a_random_uuid() -> None:
    made = [uuid.UUID(near_uuid()) for _ in range(100)]
    assert {(one.version, one.variant) for one in made} == {(4, uuid.RFC_4122)}
    assert len({one.hex[DIGITS:8] for one in made}) > 95


def test_ids_of_one_slot_begin_alike_and_slots_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [made_at(monkeypatch, second).hex[:DIGITS] for second in (0, SLOT - 1, SLOT, 2 * SLOT)]
    slots = [int(digits, 16) for digits in ids]
    assert [slot - slots[0] for slot in slots] == [0, 0, 1, 2]
    assert made_at(monkeypatch, SLOT * 16**DIGITS).hex[:DIGITS] == ids[0], "they begin anew after half a day"


@pytest.mark.parametrize(
    ("age", "fresh"), [(-2.5, False), (-0.5, True), (0, True), (1, True), (2.5, False), (1000, False)]
)
@pytest.mark.parametrize("start", [0, SLOT * (16**DIGITS - START // SLOT % 16**DIGITS)], ids=["now", "at the turn"])
def test_an_id_is_fresh_for_two_slots(monkeypatch: pytest.MonkeyPatch, start: int, age: float, fresh: bool) -> None:
    made = made_at(monkeypatch, start + SLOT / 2)
    monkeypatch.setattr(time, "time_ns", lambda: int((START + start + SLOT / 2 + SLOT * age) * 1e9))
    assert is_fresh(str(made)) is fresh


@pytest.mark.parametrize("text", ["", "monday", "k", "-", "é"])
def test_other_texts_are_not_fresh(text: str) -> None:
    assert not is_fresh(text)
