"""The order of names, and the names that are entries, without a server."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kazoo.protocol.serialization import int_struct, write_string
from kazoo.recipe.queue import LockingQueue

from geventjob.coordination import names as entry_names
from geventjob.coordination.names import parse_entry, signed
from geventjob.coordination.zookeeper.nodes import entry_path
from geventjob.coordination.zookeeper.order import by_sequence, first_of, oldest_of
from geventjob.coordination.zookeeper.requests import EntryNames

priorities = st.integers(0, 999)
counters = st.integers(-(2**31), 2**31 - 1)


def name(priority: int, sequence: int) -> str:
    return f"entry-{priority:03d}-{sequence:010d}"


def answer(names: list[str]) -> bytes:
    """Return the answer of a server that lists children, behind a header."""
    return bytes(b"header" + int_struct.pack(len(names)) + b"".join(bytes(write_string(name)) for name in names))


def listed(names: list[str]) -> list[str]:
    return EntryNames("/job/entries", None).deserialize(answer(names), len("header"))


@given(
    start=counters, steps=st.lists(st.tuples(priorities, st.integers(1, 2**26)), max_size=30), count=st.integers(0, 40)
)
def test_the_first_are_those_of_the_lowest_priority_that_were_put_first(
    start: int, steps: list[tuple[int, int]], count: int
) -> None:
    """Wherever the counter of the server stands and wraps. The oldest are those put first, of any priority."""
    sequence, entries = start, []
    for priority, step in steps:
        sequence = signed(sequence + step)
        entries.append((priority, sequence))
    in_order = [name(*entry) for entry in sorted(entries, key=lambda entry: entry[0])]  # sorting is stable
    shuffled = random.Random(count).sample(in_order, len(in_order))
    assert first_of(shuffled, count) == in_order[:count]
    assert oldest_of(shuffled, count) == [name(*entry) for entry in entries][:count]


@given(start=counters, steps=st.lists(st.integers(1, 2**26), max_size=30))
def test_sequences_alone_are_in_the_order_of_their_making(start: int, steps: list[int]) -> None:
    sequences = []
    for step in steps:
        start = signed(start + step)
        sequences.append(start)
    names = [f"msg-{sequence:010d}" for sequence in sequences]
    shuffled = random.Random(len(steps)).sample(names, len(names))
    assert by_sequence(shuffled, lambda name: int(name[4:])) == names


junk = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=30)


@given(
    entries=st.lists(st.builds(name, priorities, counters), max_size=20),
    others=st.lists(
        st.one_of(junk, st.builds("entry-{}".format, junk), st.builds("{}entry-100-0000000001".format, junk))
    ),
)
def test_of_any_names_exactly_those_of_entries_are_listed(entries: list[str], others: list[str]) -> None:
    names = random.Random(len(entries)).sample(entries + others, len(entries + others))
    expected = [name for name in names if parse_entry(entry_path(name))]
    assert sorted(listed(names)) == sorted(expected)
    assert all(name in expected for name in entries)


def test_a_list_tells_its_cpu() -> None:
    request = EntryNames("/job/entries", None)
    assert len(request.deserialize(answer([name(100, n) for n in range(1000)]), len("header"))) == 1000
    assert 0 < request.cpu < 0.1


# --- agreement with kazoo's own queue


class Creations:
    """A client of ZooKeeper that numbers the nodes which kazoo's queue creates, and keeps their paths."""

    def __init__(self, first: int) -> None:
        """Set the next number."""
        self.paths: list[str] = []
        self._next = first
        self.handler = SimpleNamespace(lock_object=None, event_object=None)

    def ensure_path(self, path: str) -> None:
        """Accept a folder."""

    def create(self, path: str, value: bytes, **_: Any) -> None:
        """Create a node as a server does: behind the path comes the next number, as `%010d`."""
        self.paths.append(f"{path}{self._next:010d}")
        self._next += 1


@given(
    first=st.integers(0, 2**31 - 100),
    puts=st.lists(priorities, max_size=30),
    taken=st.sets(st.integers(0, 29)),
    count=st.integers(0, 40),
)
def test_kazoo_s_queue_and_ours_read_the_same_names_in_the_same_order(
    first: int, puts: list[int], taken: set[int], count: int
) -> None:
    """kazoo writes the names and sorts them; we parse the names, and find the free ones in the same order."""
    client = Creations(first)
    queue = LockingQueue(client, "/job")
    for priority in puts:
        queue.put(b"job/a", priority)
    assert [parse_entry(path) for path in client.paths] == [(puts[n], first + n) for n in range(len(puts))]
    names = [path.rpartition("/")[2] for path in client.paths]
    assert sorted(listed(names)) == sorted(names)
    held = [name for number, name in enumerate(names) if number in taken]
    free = random.Random(count).sample([name for name in names if name not in held], len(names) - len(held))
    assert first_of(free, count) == queue._filter_locked(names, held)[:count]


@given(priority=priorities, sequence=st.integers(0, 2**31 - 1))
def test_our_name_of_an_entry_is_that_of_kazoo_s_queue(priority: int, sequence: int) -> None:
    client = Creations(sequence)
    LockingQueue(client, "/job").put(b"job/a", priority)
    assert client.paths == [entry_names.entry_path(priority, sequence)]
