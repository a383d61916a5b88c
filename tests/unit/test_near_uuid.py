"""Ids whose neighbours in time are neighbours in an index."""

from __future__ import annotations

import time
import uuid

import pytest

from geventjob.near_uuid import DIGITS, SLOT, near_uuid

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
