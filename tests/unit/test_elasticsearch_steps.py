"""Unique keys over Elasticsearch, under any interleaving of the steps of several servers, and any deaths of servers.

A simulated index has versions and nothing else. hypothesis chooses the order of the steps, and the requests that are
lost, done twice, or done long after the death of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from geventjob.server.store.base import DuplicateKey, Insert, StoreRefused
from geventjob.server.store.elasticsearch.bulk import Put, Read, Remove, StoredDocument
from geventjob.server.store.elasticsearch.indexed import IndexedSource, Version
from geventjob.server.store.elasticsearch.steps import Steps, owns, place_of

KEY = "k"
PLACE = place_of("job", KEY)


class Index:
    """The guarantee of Elasticsearch: a write is done only on the version that the write names."""

    def __init__(self) -> None:
        self._contents: dict[tuple[str, str], StoredDocument] = {}
        self._writes = 0

    def do(self, ask: Read | Put | Remove) -> Any:
        """Carry out a request, and return the answer."""
        found = self._contents.get((ask.kind, ask.id))
        if isinstance(ask, Read):
            return found
        if ask.version != (found.version if found else None):
            return None
        self._writes += 1
        version = Version(self._writes, 1)
        if isinstance(ask, Put):
            self._contents[ask.kind, ask.id] = StoredDocument(
                msgspec.json.decode(ask.source, type=IndexedSource), version
            )
        else:
            del self._contents[ask.kind, ask.id]
        return version

    def has(self, id: str) -> bool:
        """Return whether a job exists."""
        found = self._contents.get(("job", id))
        return found is not None and not found.source.dead

    @property
    def owners(self) -> list[str]:
        """The ids of the jobs that own the key."""
        return [id for (kind, id), found in self._contents.items() if kind == "job" and owns(found.source.key, PLACE)]


@dataclass
class Actor:
    """A server that carries out one item."""

    id: str
    steps: Any = field(repr=False)
    ask: Any = field(default=None, repr=False)
    result: Any = None
    over: bool = False

    def __post_init__(self) -> None:
        self.ask = next(self.steps)

    def goes_on(self, answer: Any) -> None:
        """Take the next step, given the answer to the last request."""
        try:
            self.ask = self.steps.send(answer)
        except StopIteration as end:
            self.result, self.over = end.value, True
        except (DuplicateKey, StoreRefused) as error:
            self.result, self.over = error, True


def inserting(id: str) -> Actor:
    return Actor(id, Steps().insert("job", Insert({"id": id}, KEY)))


def deleting(id: str) -> Actor:
    return Actor(id, Steps().update("job", id, [lambda document: None]))


actors = st.lists(
    st.tuples(st.sampled_from([inserting, deleting]), st.sampled_from(["job/a", "job/b", "job/c"])), max_size=4
)


@settings(max_examples=800, deadline=None)
@given(actors, st.data())
def test_no_two_documents_have_one_key_and_no_key_is_blocked(wanted: list[Any], data: st.DataObject) -> None:
    index, floating = Index(), []
    inserted = {id for make, id in wanted if make is inserting}
    running = [make(id) for make, id in wanted if make is deleting] + [inserting(id) for id in sorted(inserted)]

    def done(ask: Any) -> Any:
        answer = index.do(ask)
        assert len(index.owners) <= 1
        return answer

    while running:
        actor = data.draw(st.sampled_from(running))
        fate = data.draw(st.sampled_from(["answered"] * 5 + ["twice", "lost", "late"]))
        if fate == "late":  # the server dies while its request is under way
            floating.append(actor.ask)
        else:
            answer = done(actor.ask)
            if fate == "lost":
                actor.over = True  # the server dies after its request was done
            else:
                actor.goes_on(done(actor.ask) if fate == "twice" else answer)
                check(actor, index)
        running = [one for one in running if not one.over and one.ask not in floating]
        if floating and bool(data.draw(st.booleans())):
            done(floating.pop(data.draw(st.integers(0, len(floating) - 1))))

    last = inserting("job/last")
    while not last.over:
        last.goes_on(done(last.ask))
    check(last, index)
    assert not isinstance(last.result, StoreRefused)
    for ask in floating:
        done(ask)
    if isinstance(last.result, dict):
        assert index.owners == [last.id]


def check(actor: Actor, index: Index) -> None:
    """Assert that the result of an insert is true of the index."""
    if isinstance(actor.result, dict):
        assert index.has(actor.id)
    elif isinstance(actor.result, DuplicateKey):
        assert actor.result.document["id"] != actor.id
    elif isinstance(actor.result, StoreRefused):
        assert actor.id not in index.owners


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=6), st.data())
def test_no_update_is_lost_whatever_servers_remember(servers: list[int], data: st.DataObject) -> None:
    index, steps = Index(), [Steps(), Steps()]
    insert = Actor("job/a", steps[0].insert("job", Insert({"id": "job/a", "count": 0})))
    insert.goes_on(index.do(insert.ask))
    assert insert.over

    def update(server: int) -> Actor:
        return Actor("job/a", steps[server].update("job", "job/a", [lambda job: {**job, "count": job["count"] + 1}]))

    waiting, running = list(servers), list[Actor]()
    while waiting or running:
        if waiting and (not running or data.draw(st.booleans())):
            running.append(update(waiting.pop()))
        actor = data.draw(st.sampled_from(running))
        actor.goes_on(index.do(actor.ask))
        running = [one for one in running if not one.over]
    found = index.do(Read("job", "job/a"))
    assert msgspec.json.decode(found.source.document)["count"] == len(servers)
