"""Sessions: the cookie that a log-in gives, and who it stands for.

A cookie is the signed name of a session document. It is good while that document stands, and the user has the password
with which it was opened, or still has the key: log-out, a new password, the end of a user and that of a key all revoke
it, at once on the server that is told, within CACHE seconds on any other that shares the store.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from hashlib import blake2b
from typing import NamedTuple
from uuid import uuid4

import falcon
from itsdangerous import BadData, URLSafeSerializer

from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, now
from geventjob.log import SELDOM
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.api_keys import is_of, opens
from geventjob.server.accounts.caller import ADMIN_INCLUDES, ANONYMOUS, Caller
from geventjob.server.document import new_document
from geventjob.server.filter import Compare, Filter
from geventjob.server.problem import Problem
from geventjob.server.store.base import DuplicateKey, Insert, Query, Store, StoreError, Update

log = logging.getLogger(__name__)

COOKIE = "com.sixsq.slipstream.cookie"
LIFE = timedelta(hours=24)
CACHE = 2.0
"""Seconds for which a cookie that was found good is taken for good without asking the store."""
CACHED = 10_000
LONGEST = 1_024
"""Characters of a cookie, which is some 200 long."""
LONGEST_KEY = 256
"""Characters of the id of a key."""
SLICE = 1_000
"""Sessions that one call to the store deletes."""


class _Known(NamedTuple):
    caller: Caller
    session: str
    until: float


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, store: Store, key: str) -> None:
        """`key` signs the cookies: `signing_key(store)`."""
        self._store = store
        self._signer = URLSafeSerializer(key, salt="session")
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._revocations = 0

    def open(self, user: Document, template: str, key: Document | None = None) -> tuple[Document, str]:
        """A new session of this user, who has shown his password or this key; stored, and the cookie's value."""
        id = f"session/{uuid4()}"
        end = cimi_time(now() + LIFE)
        document = new_document(id, "Session", acl("ROLE", id, [("ROLE", "ADMIN", "VIEW")])) | {
            "method": template.partition("/")[2],
            "sessionTemplate": {"href": template},
            "username": user["username"],
            "roles": " ".join(sorted(roles_of(user, key))) + f" {id}",
            "expiry": min(end, key.get("expiry", end)) if key else end,
        }
        document |= {"credential": {"href": key["id"]}} if key else {"_password": user["_generation"]}
        (result,) = self._store.write([Insert(document)])
        if isinstance(result, Exception):
            raise result
        named = [id, user["username"], *([key["id"]] if key else [])]
        return document, "token=" + str(self._signer.dumps(named))

    def caller_of(self, req: falcon.Request) -> Caller:
        """Who sends this request: by an API key in `Authorization: Bearer`, else by the cookie of a session.

        Raises StoreAway, Problem 403 (a key that is none).
        """
        scheme, _, token = (req.get_header("Authorization") or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return self.caller(req.get_header("Cookie"))
        token = token.strip()
        digest = blake2b(token.encode(), digest_size=16).hexdigest()
        known = self._known.get(digest)
        if known is not None and boottime() < known.until:
            return known.caller
        id, _, secret = token.removeprefix("credential/").partition(".")
        revocations = self._revocations
        user, key = self.by_key(id, secret)
        caller = Caller(user["username"], roles_of(user, key), key["id"])
        if revocations == self._revocations:  # else it may have been revoked while the store was asked
            self._remember(digest, _Known(caller, "", boottime() + CACHE))
        return caller

    def by_key(self, id: str, secret: str) -> tuple[Document, Document]:
        """The user and the API key of this id (`credential/` may stand before it or not), shown with its secret.

        Raises Problem 403, StoreAway.
        """
        name = id.removeprefix("credential/")
        (key,) = self._store.get([f"credential/{name}"]) if len(name) <= LONGEST_KEY else (None,)
        if opens(key, secret) and key is not None:
            (user,) = self._store.get([f"user/{key['claims']['identity']}"])
            if user is not None and is_of(key, user):
                return user, key
        raise wrong(id[:LONGEST_KEY], known=key is not None)

    def caller(self, cookies: str | None) -> Caller:
        """Who sends this `Cookie` header: nobody, if no cookie in it is good. Raises StoreAway."""
        value = _cookie(cookies)
        if value is None or len(value) > LONGEST:
            return ANONYMOUS
        known = self._known.get(value)
        if known is not None and boottime() < known.until:
            return known.caller
        return self._look_up(value)

    def end(self, id: str) -> None:
        """Log out: the session's cookie is good for nothing from now on. Raises StoreError: it may still be good."""
        (result,) = self._store.write([Update(id, lambda document: None)])
        if isinstance(result, StoreError):
            raise result
        self._revoke(lambda known: known.session == id)

    def changed(self, username: str) -> None:
        """What is in the store of a user has changed: ask it again."""
        self._revoke(lambda known: known.caller.username == username)

    def end_key(self, id: str) -> None:
        """Delete the sessions of a key that is gone: they are good for nothing already. Raises StoreAway."""
        self._revoke(lambda known: known.caller.key == id)
        self._delete(Compare(("credential", "href"), "=", id))

    def end_all(self, username: str) -> None:
        """Delete the sessions of a user, who is gone or has a new password: they are good for nothing already."""
        self._delete(Compare(("username",), "=", username))

    def sweep(self) -> None:
        """Delete the sessions that have expired. Raises StoreAway."""
        self._delete(Compare(("expiry",), "<", cimi_time(now())))

    def _delete(self, filter: Filter) -> None:
        while len(self._store.delete("session", Query(filter=filter), SLICE)) == SLICE:
            pass

    def _revoke(self, which: Callable[[_Known], bool]) -> None:
        self._revocations += 1
        for value, known in list(self._known.items()):
            if which(known):
                del self._known[value]

    def _look_up(self, value: str) -> Caller:
        try:
            id, username, *keys = self._signer.loads(value.removeprefix("token="))
        except (BadData, ValueError, TypeError):
            return ANONYMOUS
        revocations = self._revocations
        session, user, *found = self._store.get([id, f"user/{username}", *keys])
        if session is None or user is None or not _good(session, user, found):
            self._known.pop(value, None)
            return ANONYMOUS
        caller = Caller(username, roles_of(user, *found) | {id}, *keys)
        if revocations == self._revocations:  # else it may have been revoked while the store was asked
            self._remember(value, _Known(caller, id, boottime() + CACHE))
        return caller

    def _remember(self, value: str, known: _Known) -> None:
        self._known[value] = known
        self._known.move_to_end(value)
        if len(self._known) > CACHED:
            self._known.popitem(last=False)


def wrong(name: str, known: bool) -> Problem:
    """The answer to a wrong log-in. What is no known name may be a password in the wrong place: it is not logged."""
    log.warning("log-in refused for %s", repr(name) if known else "an unknown name", extra=SELDOM)
    return Problem(403, f"invalid credentials for '{name}'", resource_id=name)


def roles_of(user: Document, key: Document | None = None) -> frozenset[str]:
    """What a user is, besides his session; with a key, only as far as the key goes."""
    roles = frozenset(user["roles"].split())
    if key is not None:
        roles = (roles | ADMIN_INCLUDES if "ADMIN" in roles else roles) & set(key["claims"]["roles"])
    return roles | {"USER", "ANON"}


def _good(session: Document, user: Document, keys: list[Document | None]) -> bool:
    """`keys`: the one that the session was opened with, if it was one."""
    stands = all(key is not None and is_of(key, user) for key in keys)
    if not keys:
        stands = session["_password"] == user["_generation"]
    return stands and bool(session["expiry"] > cimi_time(now()))


def _cookie(header: str | None) -> str | None:
    for part in (header or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return None


def signing_key(store: Store) -> str:
    """The key that the servers over this store share; the first of them makes it. Raises StoreError."""
    (result,) = store.write([Insert({"id": "secret/cookie", "key": secrets.token_hex(32)})])
    if isinstance(result, DuplicateKey):
        result = result.document
    if isinstance(result, Exception):
        raise result
    assert result is not None
    return str(result["key"])
