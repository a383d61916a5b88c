"""The audit: who changed what, from where, how many. Events are added, and deleted by their age alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.near_uuid import near_uuid
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.document import new_document
from geventjob.server.filter import And, Compare, Filter, Or
from geventjob.server.problem import forbidden
from geventjob.server.store.base import Insert, Query, Store, StoreError, write_one

log = logging.getLogger(__name__)

KEPT_DAYS = 90
NAMED = 100
"""Most jobs that an event names."""
SHOWN = 100
"""Most events of a job."""
DETAIL_LENGTH = 1_000
READERS = frozenset({"ADMIN", "VIEWER"})
"""Roles that read all events."""


@dataclass(frozen=True)
class Deed:
    """A change that a user has made."""

    state: str
    """The new state of the resource: `stopped`, `deleted`, `edited`."""
    href: str
    """The resource: `job/<uuid>`, `user/alice`; a collection, `job`, for many at once."""
    count: int = 1
    jobs: Sequence[str] = ()
    """The jobs that a deed on many has met, NAMED at most."""
    detail: str = ""


class Audit:
    """The events of a store."""

    def __init__(self, store: Store, kept_days: int = KEPT_DAYS) -> None:
        """`kept_days`: the age at which events are deleted; 0: never."""
        self._store = store
        self._kept_days = kept_days

    def keep(self, deed: Deed, caller: Caller, client: str) -> None:
        """Store that the caller, at this address, has done this. A store that refuses leaves an error in the log."""
        document = new_document(f"event/{near_uuid()}", "Event", acl("ROLE", "ADMIN", [("ROLE", "VIEWER", "VIEW")]))
        document |= {
            "timestamp": document["created"],
            "type": "action",
            "severity": "low",
            "user": caller.username,
            "client": client,
            "content": {"resource": {"href": deed.href}, "state": deed.state},
            "targetResource": {"href": deed.href},
            "count": deed.count,
        }
        if caller.key is not None:
            document["credential"] = {"href": caller.key}
        if deed.href.startswith("job"):
            document["jobs"] = [deed.href] if deed.href != "job" else list(deed.jobs[:NAMED])
        if deed.detail:
            document["detail"] = deed.detail[:DETAIL_LENGTH]
        try:
            write_one(self._store, Insert(document))
        except StoreError as error:
            log.error("%s has %s %s, and the audit does not say so: %s", caller.username, deed.state, deed.href, error)

    def of_job(self, id: str, caller: Caller) -> list[Document]:
        """Return the last events of a job, the newest first; the addresses of clients only for READERS.

        Raises StoreAway.
        """
        target = ("targetResource", "href")
        among_many: Filter = And((Compare(target, "=", "job"), Compare(("jobs",), "=", id)))
        query = Query(Or((Compare(target, "=", id), among_many)), last=SHOWN, orderby=[("created", True)])
        found = self._store.search("event", query).documents
        return found if may_read(caller) else [_discreet(event, id) for event in found]

    def forget(self) -> None:
        """Delete the events that are too old. Raises StoreError."""
        if not self._kept_days:
            return
        old = cimi_time(now() - timedelta(days=self._kept_days))
        while len(self._store.delete("event", Query(Compare(("created",), "<", old)), 1_000)) == 1_000:
            pass


def may_read(caller: Caller) -> bool:
    """Return whether the caller reads all events."""
    return not READERS.isdisjoint(caller.roles)


def require_may_read(caller: Caller) -> None:
    """Raise Problem 403 unless the caller reads all events."""
    if not may_read(caller):
        raise forbidden()


def _discreet(event: Document, id: str) -> Document:
    """Return an event of a job without what the job does not disclose: addresses, keys, other jobs, filters."""
    hidden = ("client", "credential", "detail")
    return {name: value for name, value in event.items() if name not in hidden} | {"jobs": [id]}
