"""The keys that sign the cookies of sessions: one signs, all verify. A new key each week ends no session.

The servers of a store share the keys in one document, which each server reads again every hour. A new key verifies at
once and signs from AHEAD later on, when every server has read the key. A key that has signed its last cookie verifies
until the session of this cookie has expired.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from itsdangerous import URLSafeSerializer

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.store.base import DuplicateKey, Insert, Store, Update, write_one

ID = "secret/cookie"
PERIOD = timedelta(days=7)
"""Time for which a key signs."""
AHEAD = timedelta(hours=3)
"""Time between the making of a key and its first signature; a server may miss a reading while the store is away."""
LIFETIME = timedelta(hours=24)
"""Longest life of a session."""

Key = dict[str, str]
"""`key`, and `since`: the time of its first signature."""


class SigningKeys:
    """The keys of a store. The first server makes the first key."""

    def __init__(self, store: Store) -> None:
        """Read the keys. Raises StoreError."""
        self._store = store
        first = _new_key(now())
        try:
            document = write_one(store, Insert({"id": ID, "keys": [first]}))
        except DuplicateKey as duplicate:
            document = duplicate.document
        self._keys = _keys(document)

    def renew(self) -> None:
        """Read the keys again, add a key when it is time, and drop keys that verify no session. Raises StoreError."""
        moment = now()
        new = _new_key(moment + AHEAD)
        self._keys = _keys(write_one(self._store, Update(ID, lambda document: _renewed(document, new, moment))))

    @property
    def signer(self) -> URLSafeSerializer:
        """Signs with the present key, and verifies with all."""
        moment = cimi_time(now())
        begun = sorted(self._keys, key=lambda key: (key["since"] <= moment, key["since"]))
        return URLSafeSerializer([key["key"] for key in begun], salt="session")


def _new_key(since: datetime) -> Key:
    return {"key": secrets.token_hex(32), "since": cimi_time(since)}


def _keys(document: Document | None) -> Sequence[Key]:
    """Return the keys of the document; earlier versions of the server made one key for ever."""
    assert document is not None
    keys: list[Key] = document.get("keys") or [{"key": document["key"], "since": ""}]
    return keys


def _renewed(document: Document, new: Key, moment: datetime) -> Document:
    """Return the document with a new key if the newest is old, and without keys that verify no session any more."""
    keys = _keys(document)
    if max(key["since"] for key in keys) > cimi_time(moment - PERIOD):
        return document
    old = cimi_time(moment - LIFETIME - AHEAD)
    begun = sorted(key["since"] for key in keys if key["since"] <= old)
    return {"id": ID, "keys": [*(key for key in keys if not begun or key["since"] >= begun[-1]), new]}
