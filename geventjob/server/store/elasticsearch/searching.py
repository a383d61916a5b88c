"""Searches: one request for a page within the first 10,000 matches, else several requests over a point in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec

from geventjob.cimi.document import WINDOW
from geventjob.clock import boottime
from geventjob.server.filter import FilterError
from geventjob.server.store.attributes import path_of
from geventjob.server.store.base import Page, Query, SearchTooLong, StoreAway, StoreError
from geventjob.server.store.elasticsearch import aggregation
from geventjob.server.store.elasticsearch.indexed import IndexedSource, Version, decode, encode
from geventjob.server.store.elasticsearch.query import clause, order, seen_by
from geventjob.server.store.elasticsearch.turns import with_turns
from geventjob.server.store.elasticsearch.wire import Response, Wire
from geventjob.server.store.resolve import resolve

GRACE = 1.0
"""Seconds to wait for the answer to a search after the time limit that Elasticsearch was given."""

Body = dict[str, Any]


class Hit(msgspec.Struct):
    """A match of a search."""

    id: str = msgspec.field(name="_id")
    source: IndexedSource = msgspec.field(name="_source", default_factory=IndexedSource)
    seq: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=-1)
    sort: list[Any] = []

    @property
    def version(self) -> Version:
        return Version(self.seq, self.term)


class _Total(msgspec.Struct):
    value: int = 0


class _Hits(msgspec.Struct):
    hits: list[Hit]
    total: _Total = msgspec.field(default_factory=_Total)


class _SearchAnswer(msgspec.Struct):
    hits: _Hits
    timed_out: bool = False
    aggregations: dict[str, dict[str, Any]] = {}


class _Point(msgspec.Struct):
    id: str


_found = msgspec.json.Decoder(_SearchAnswer).decode
_point = msgspec.json.Decoder(_Point).decode


class IndexSearch:
    """A query on the index of a kind, translated for Elasticsearch."""

    def __init__(self, index: str, query: Query, now: datetime) -> None:
        """Translate the query; date math starts from `now`. Raises FilterError."""
        filters = []
        if query.filter is not None:
            filters.append(clause(resolve(query.filter, now)))
        if query.viewers is not None:
            filters.append(seen_by(query.viewers))
        self._index = index
        self._query = query
        self._matching = {"bool": {"filter": filters, "must_not": [{"exists": {"field": "dead"}}]}}

    def page(self, wire: Wire, deadline: float) -> Page:
        """Return the result of the query.

        `deadline`: in seconds of boottime(). Raises FilterError, SearchTooLong, StoreAway.
        """
        query = self._query
        before = max(1, query.first) - 1
        size = WINDOW if query.last is None else max(0, min(WINDOW, query.last - before))
        running = _Running(wire, deadline, self._index)
        whole: Body = {
            "query": self._matching,
            "sort": [order(path_of(name), descending=down) for name, down in query.orderby] + [{"id": "asc"}],
            "aggs": aggregation.asked(query.aggregations),
            "track_total_hits": query.counted,
        }
        source = {"_source": True if query.select is None else [f"document.{name}" for name in self._selected]}
        if before + size <= WINDOW or not size:
            found = running.search(whole | source | {"from": before if size else 0, "size": size})
            hits = found.hits.hits
        else:
            found, hits = running.beyond(whole, source, before, size)
        results = aggregation.answered(query.aggregations, found.aggregations)
        return Page(found.hits.total.value, [decode(hit.source.document) for hit in with_turns(hits)], results)

    @property
    def _selected(self) -> set[str]:
        return {"id", "acl", *(self._query.select or ())}

    def hits(self, wire: Wire, deadline: float, limit: int) -> list[Hit]:
        """Return up to `limit` matches, whole and with their versions. Raises the errors of `page`."""
        body = {"query": self._matching, "size": limit, "seq_no_primary_term": True, "sort": ["_doc"]}
        return _Running(wire, deadline, self._index).search(body).hits.hits


def old_tombstones(wire: Wire, indexes: str, before: str, deadline: float) -> list[Hit]:
    """Return tombstones from before a time, up to WINDOW. Raises StoreAway."""
    body = {"query": {"range": {"dead": {"lt": before}}}, "size": WINDOW, "_source": False, "seq_no_primary_term": True}
    return _Running(wire, deadline, indexes).search(body).hits.hits


class _Running:
    """The requests of one search."""

    def __init__(self, wire: Wire, deadline: float, index: str) -> None:
        self._wire = wire
        self._deadline = deadline
        self._index = index

    def search(self, body: Body) -> _SearchAnswer:
        left = self._deadline - boottime()
        if left <= 0:
            raise SearchTooLong(SearchTooLong.WAITING)
        path = "/_search" if "pit" in body else f"/{self._index}/_search"
        timed = body | {"timeout": f"{left * 1000:.0f}ms"}
        found = self._ask("POST", f"{path}?allow_partial_search_results=false", timed).read(_found)
        if found.timed_out:
            raise SearchTooLong(SearchTooLong.SLOW)
        return found

    def beyond(self, whole: Body, source: Body, before: int, size: int) -> tuple[_SearchAnswer, list[Hit]]:
        """Return the first answer, with the count and the aggregations, and the page after `before` matches."""
        skips = [WINDOW] * (before // WINDOW) + [before % WINDOW] * (before % WINDOW > 0)
        with self._point_in_time() as point:
            body, first = whole | point, None
            for skip in skips:
                found = self.search(body | {"size": skip, "_source": False})
                first = first or found
                if len(found.hits.hits) < skip:
                    return first, []
                body |= {"search_after": found.hits.hits[-1].sort, "aggs": {}, "track_total_hits": False}
            assert first is not None
            return first, self.search(body | source | {"size": size}).hits.hits

    @contextmanager
    def _point_in_time(self) -> Iterator[Body]:
        """Open a point in time, a view of the index that no write changes; yield its part of a request."""
        path = f"/{self._index}/_pit?keep_alive=30s"
        id = self._ask("POST", path).read(_point).id
        try:
            yield {"pit": {"id": id, "keep_alive": "30s"}}
        finally:
            with suppress(StoreError):  # Elasticsearch closes the point in time after keep_alive
                self._wire.ask("DELETE", "/_pit", encode({"id": id}), until=boottime() + GRACE)

    def _ask(self, method: str, path: str, body: Body | None = None) -> Response:
        data = None if body is None else encode(body)
        answer = self._wire.ask(method, path, data, until=self._deadline + GRACE)
        if answer.good:
            return answer
        reason = str(answer.reason)
        if answer.status == 400 or "too_many" in reason:
            raise FilterError(f"the filter is too complex, or a text in it too long ({reason})")
        raise StoreAway(reason)
