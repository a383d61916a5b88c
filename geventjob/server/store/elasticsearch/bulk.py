"""Reads and writes of documents by id, many in one request: `_mget` and `_bulk`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Union

import gevent
import msgspec

from geventjob.clock import boottime
from geventjob.server.store.base import StoreAway, StoreRefused
from geventjob.server.store.elasticsearch.indexed import IndexedSource, Version, encode
from geventjob.server.store.elasticsearch.mapping import index
from geventjob.server.store.elasticsearch.wire import LINES, LONGEST_PAUSE, PAUSE, Reason, Wire, blocked, refusal

BYTES = 8 << 20
"""Most bytes that one request writes; a larger document goes alone."""
DOCUMENTS = 500
"""Most documents that one request reads."""


@dataclass(frozen=True)
class Read:
    """Read a document as last written."""

    kind: str
    id: str


@dataclass(frozen=True)
class Put:
    """Write a document if the stored version is `version`; without a version, if no document exists."""

    kind: str
    id: str
    source: bytes
    version: Version | None = None


@dataclass(frozen=True)
class Remove:
    """Delete a document if the stored version is `version`."""

    kind: str
    id: str
    version: Version


class StoredDocument(msgspec.Struct):
    """A document in an index, as read."""

    source: IndexedSource
    version: Version


Write = Union[Put, Remove]
Written = Union[Version, None, Exception]
"""The new version; None if the stored version was another; or the reason why the write was certainly not done."""


class _Got(msgspec.Struct):
    found: bool = False
    source: IndexedSource = msgspec.field(name="_source", default_factory=IndexedSource)
    seq: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=-1)
    error: Union[Reason, None] = None


class _Read(msgspec.Struct):
    docs: list[_Got]


class _Done(msgspec.Struct):
    status: int
    seq: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=-1)
    error: Union[Reason, None] = None

    @property
    def busy(self) -> bool:
        return self.status == 429 and self.error is not None and not blocked(self.error)


class _Bulk(msgspec.Struct):
    items: list[dict[str, _Done]]


Answered = TypeVar("Answered")
_read = msgspec.json.Decoder(_Read).decode
_bulk = msgspec.json.Decoder(_Bulk).decode


class Documents:
    """The documents of all kinds, by id.

    `until`: deadline in seconds of boottime(), after which a call raises StoreAway.
    """

    def __init__(self, wire: Wire, prefix: str) -> None:
        self._wire = wire
        self._prefix = prefix

    def read(self, wanted: Sequence[Read], until: float) -> list[StoredDocument | StoreAway | None]:
        """Return the documents in order, None for a missing document. Raises StoreAway."""
        places = [{"_index": index(self._prefix, one.kind), "_id": one.id} for one in wanted]
        found: list[StoredDocument | StoreAway | None] = []
        for first in range(0, len(places), DOCUMENTS):
            found += self._read(places[first : first + DOCUMENTS], until)
        return found

    def _read(self, places: list[dict[str, str]], until: float) -> list[StoredDocument | StoreAway | None]:
        answer = self._wire.ask("POST", "/_mget", encode({"docs": places}), until=until)
        if not answer.good:
            raise StoreAway(str(refusal(answer)))
        return [_found(got) for got in _each(answer.read(_read).docs, places)]

    def write(self, writes: Sequence[Write], until: float) -> list[Written]:
        """Carry out the writes, and return their outcomes in order. Raises StoreAway if any outcome is unknown."""
        return [written for some in _portions(self._lines(writes)) for written in self._sent(some, until)]

    def _lines(self, writes: Sequence[Write]) -> Iterator[bytes]:
        for one in writes:
            place: dict[str, Any] = {"_index": index(self._prefix, one.kind), "_id": one.id}
            if one.version is not None:
                place |= {"if_seq_no": one.version.seq, "if_primary_term": one.version.term}
            if isinstance(one, Remove):
                yield encode({"delete": place}) + b"\n"
            else:
                name = "create" if one.version is None else "index"
                yield b"%b\n%b\n" % (encode({name: place}), one.source)

    def _sent(self, lines: list[bytes], until: float) -> list[Written]:
        """Send writes; repeat only the writes that met a busy node, until the deadline."""
        written: dict[int, Written] = {}
        waiting, pause = list(range(len(lines))), PAUSE
        while waiting:
            done = self._once([lines[i] for i in waiting], until)
            last = boottime() + 2 * pause > until  # a repeat has as long for its answer as the pause before
            written.update((i, _meaning(one)) for i, one in zip(waiting, done, strict=True) if last or not one.busy)
            waiting = [i for i in waiting if i not in written]
            if waiting:
                gevent.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
        return [written[i] for i in range(len(lines))]

    def _once(self, lines: list[bytes], until: float) -> list[_Done]:
        """Send writes once. `timeout` keeps Elasticsearch from starting a write after its caller has given up."""
        path = f"/_bulk?timeout={max(1, int((until - boottime()) * 1000))}ms"
        answer = self._wire.ask("POST", path, b"".join(lines), until=until, headers=LINES)
        if answer.good:
            return [next(iter(item.values())) for item in _each(answer.read(_bulk).items, lines)]
        refused = refusal(answer)
        if isinstance(refused, StoreAway):
            raise refused
        return [_Done(403, error=Reason(reason=str(refused)))] * len(lines)


def _each(answers: list[Answered], asked: Sequence[object]) -> list[Answered]:
    if len(answers) != len(asked):
        raise StoreAway(f"Elasticsearch gave {len(answers)} answers for {len(asked)} documents")
    return answers


def _portions(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Split lines into portions for one request each."""
    portion: list[bytes] = []
    size = 0
    for line in lines:
        if portion and size + len(line) > BYTES:
            yield portion
            portion, size = [], 0
        portion.append(line)
        size += len(line)
    if portion:
        yield portion


def _found(got: _Got) -> StoredDocument | StoreAway | None:
    if got.error is not None:
        return StoreAway(str(got.error))
    return StoredDocument(got.source, Version(got.seq, got.term)) if got.found else None


def _meaning(done: _Done) -> Written:
    if done.status < 300:
        return Version(done.seq, done.term)
    if done.status == 409 or done.error is None:
        return None
    if done.status == 400:
        return ValueError(str(done.error))
    certain = done.status in (403, 429)
    return StoreRefused(str(done.error)) if certain else StoreAway(str(done.error))
