"""Refreshes: Elasticsearch shows writes to searches at the next refresh, each second or on request."""

from __future__ import annotations

from collections.abc import Set

from geventjob.batch import Batcher
from geventjob.clock import boottime
from geventjob.server.store.base import KINDS, StoreAway
from geventjob.server.store.elasticsearch.mapping import index
from geventjob.server.store.elasticsearch.wire import Wire, refusal


class Freshness:
    """Requests refreshes of indexes with new writes; callers at the same time share one refresh (some 10 ms)."""

    def __init__(self, wire: Wire, prefix: str, patience: float) -> None:
        """Take a time limit of a refresh, `patience`, in seconds."""
        self._wire = wire
        self._prefix = prefix
        self._patience = patience
        self._written = dict.fromkeys(KINDS, 0)
        self._shown = dict.fromkeys(KINDS, -1)  # writes before the start of this server are unknown
        self._refresh: Batcher[str, None] = Batcher(self._refreshed)

    def wrote(self, kinds: Set[str]) -> None:
        """Note that documents of these kinds were written, or may have been written."""
        for kind in self._written.keys() & kinds:
            self._written[kind] += 1

    def show(self, kind: str) -> None:
        """Make all earlier writes visible to searches of a kind. Raises StoreAway."""
        if self._written[kind] > self._shown[kind]:
            self.refresh(kind)

    def refresh(self, kind: str) -> None:
        """Make the earlier writes of all servers visible to searches of a kind. Raises StoreAway."""
        self._refresh(kind)

    def _refreshed(self, kinds: list[str]) -> list[None]:
        written = {kind: self._written[kind] for kind in kinds}
        names = ",".join(index(self._prefix, kind) for kind in written)
        answer = self._wire.ask("POST", f"/{names}/_refresh", until=boottime() + self._patience)
        if not answer.good:
            raise StoreAway(str(refusal(answer)))
        self._shown.update(written)
        return [None] * len(kinds)
