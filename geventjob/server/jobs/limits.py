"""The limits of a server: set, read and delete them (docs/reference/api.md, "Limits")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.gate.limit import ADMITTED, ON, UNFINISHED
from geventjob.server.gate.rulebook import RuleBook
from geventjob.server.gate.rules import Rules
from geventjob.server.problem import Problem, not_found
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Query, Store, Update, write_one

MOST = 1_000
"""Most limits: each server keeps all of them in memory."""
KEYS = ("action", "per")
"""Attributes that make the keys of a limit."""


def turn_of(store: Store, rules: Rules, job: Document) -> str | None:
    """Return in words what the job waits for under a limit, as the store has it now; None if for something else.

    Raises StoreError.
    """
    held = job.get("held", {})
    key = held.get("on", "").removeprefix(ON)
    limit = rules.limit_of(key)
    if limit is None:
        return None
    runs: Filter = And((Compare(("limits",), "=", key), UNFINISHED, ADMITTED, Compare(("held", "why"), "=", None)))
    waits: Filter = And((Compare(("held", "on"), "=", ON + key), Compare(("held", "place"), "<", held["place"])))
    running, before = (store.search("job", Query(filter, last=0)).count for filter in (runs, waits))
    first = f"{before} {'job waits' if before == 1 else 'jobs wait'} before it" if before else "it is the next one"
    return f"{limit.told(key, running)}, and {first}"


class LimitService:
    """Changes of limits. The caller has checked the rights."""

    def __init__(self, store: Store, book: RuleBook) -> None:
        self._store = store
        self._book = book

    def set(self, body: Mapping[str, Any]) -> Document:
        """Make or replace the limit of a validated body, and return it. Raises Problem 409, StoreError."""
        id = f"limit/{body['name']}"

        def change(limit: Document) -> Document:
            same = all(limit.get(name) == body.get(name) for name in KEYS)
            kept = {name: limit[name] for name in ("id", "resourceURI", "created", "acl")}
            return {**kept, **body, "updated": cimi_time(now()), "epoch": limit["epoch"] + (not same)}

        try:
            limit = write_one(self._store, Update(id, change))
        except NoSuchDocument:
            limit = self._new(id, body)
        self._book.changed()
        assert limit is not None
        return limit

    def _new(self, id: str, body: Mapping[str, Any]) -> Document | None:
        if self._store.search("limit", Query(last=0)).count >= MOST:
            raise Problem(409, f"there are {MOST} limits already, which is the most", resource_id=id)
        # Keys of an earlier limit with this name may still stand in jobs: the epoch sets the new ones apart.
        new = {**new_document(id, "Limit", acl("ROLE", "ADMIN")), **body, "epoch": int(now().timestamp() * 1000)}
        try:
            return write_one(self._store, Insert(new))
        except DuplicateKey:
            raise Problem(409, f"{id} was set by another at the same time: set it again", resource_id=id) from None

    def get(self, id: str) -> Document:
        """Return a limit. Raises Problem 404."""
        (limit,) = self._store.get([id])
        if limit is None:
            raise not_found(id)
        return limit

    def delete(self, id: str) -> None:
        """Delete a limit: the jobs that wait for their turns under it pass. Raises Problem 404, StoreError."""
        try:
            write_one(self._store, Update(id, lambda limit: None))
        except NoSuchDocument:
            raise not_found(id) from None
        self._book.changed()
