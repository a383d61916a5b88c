"""The rules as this server knows them: read at the start, at each change, and at intervals."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent

from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.server.gate.rules import KINDS, Rules
from geventjob.server.store.base import Query, Store, StoreError

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks at the rules: a message of another server may be lost."""


class RuleBook:
    """The rules of the store."""

    def __init__(self, store: Store, coordination: Coordination, topic: str) -> None:
        """Know no rules yet. `topic`: the topic of messages between servers."""
        self._store = store
        self._coordination = coordination
        self._topic = topic
        self._rules: Rules | None = None
        self.on_change: Callable[[], None] | None = None
        """Called after the rules of this server have changed."""

    @property
    def rules(self) -> Rules:
        """The rules as they were read last. The first call reads. Raises StoreError."""
        return self.read() if self._rules is None else self._rules

    def read(self, *, fresh: bool = True) -> Rules:
        """Read the rules, and return them. Raises StoreError. `fresh`: see `Query`."""
        documents: list[Document] = []
        for kind in KINDS:
            documents += self._store.search(kind, Query(orderby=[("id", False)], fresh=fresh)).documents
        before = self._rules
        if before is None or before.documents != tuple(documents):
            self._rules = Rules(tuple(documents))
            if before is not None and self.on_change is not None:
                self.on_change()
        assert self._rules is not None
        return self._rules

    def changed(self) -> None:
        """Read the rules after a change through this server, and have the other servers read. Raises StoreError."""
        self.read()
        try:
            for server in self._coordination.members("servers"):
                if server != self._coordination.name:
                    self._coordination.send(server, {"rules": "changed"}, self._topic)
        except CoordinationError as error:
            log.debug("the other servers were not told of a rule: %s", error)

    def keep(self) -> None:
        """Read the rules each INTERVAL seconds. Does not return."""
        trouble = Trouble(log, "the rules of limits and pauses cannot be read")
        while True:
            pause = INTERVAL
            try:
                self.read(fresh=False)
                trouble.end()
            except StoreError as error:
                pause = trouble.pause(str(error))
            gevent.sleep(pause)
