"""Sessions: the cookie that a log-in gives, and the caller that a request's cookie or API key stands for.

A cookie is the signed name of a session document. The cookie is valid while the document exists and the user still has
the password, or the key, with which the session was opened. A log-out, a new password, and the deletion of the user or
the key thus revoke the cookie: at once on the server that carries out the change, and within `caller_cache.SECONDS` on
every other server of the store.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from hashlib import blake2b
from uuid import uuid4

import falcon
from itsdangerous import BadData

from geventjob.cimi.document import COOKIE, Document
from geventjob.clock import cimi_time, now
from geventjob.log import SELDOM
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.api_keys import belongs_to, is_valid
from geventjob.server.accounts.caller import ADMIN_INCLUDES, ANONYMOUS, Caller
from geventjob.server.accounts.caller_cache import CallerCache
from geventjob.server.accounts.signing_keys import LIFETIME, SigningKeys
from geventjob.server.document import new_document
from geventjob.server.filter import Compare, Filter
from geventjob.server.problem import Problem
from geventjob.server.store.base import Insert, NoSuchDocument, Query, Store, Update, write_one

log = logging.getLogger(__name__)

MAX_COOKIE = 1_024
"""Characters of a cookie; ours have some 200."""
MAX_KEY_ID = 256
"""Characters of the id of an API key."""
SLICE = 1_000
"""Sessions that one call to the store deletes."""


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, store: Store) -> None:
        """Read the keys that sign the cookies. Raises StoreError."""
        self._store = store
        self._keys = SigningKeys(store)
        self._cache = CallerCache()

    def open(
        self, user: Document, template: str, key: Document | None = None, address: str | None = None
    ) -> tuple[Document, str]:
        """Store a new session of a user who has authenticated by password, or by `key`, from an address.

        Returns the session and the value of its cookie. Raises StoreError.
        """
        id = f"session/{uuid4()}"
        end = cimi_time(now() + LIFETIME)
        rules = [("USER", user["username"], "MODIFY"), ("ROLE", "ADMIN", "VIEW")]
        document = new_document(id, "Session", acl("ROLE", id, rules)) | {
            "method": template.partition("/")[2],
            "sessionTemplate": {"href": template},
            "username": user["username"],
            "roles": " ".join(sorted(roles_of(user, key))) + f" {id}",
            "expiry": min(end, key.get("expiry", end)) if key else end,
        }
        document |= {"address": address} if address else {}
        document |= {"credential": {"href": key["id"]}} if key else {"_password": user["_generation"]}
        write_one(self._store, Insert(document))
        named = [id, user["username"], *([key["id"]] if key else [])]
        return document, "token=" + str(self._keys.signer.dumps(named))

    def caller_of(self, req: falcon.Request) -> Caller:
        """Return the caller by the API key in `Authorization: Bearer`, else by the session's cookie.

        Raises StoreAway, Problem 403 (an invalid key).
        """
        scheme, _, token = (req.get_header("Authorization") or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return self.caller_by_cookie(req.get_header("Cookie"))
        token = token.strip()
        digest = blake2b(token.encode(), digest_size=16).hexdigest()
        return self._cache.get(digest, lambda: self._caller_by_key(token))

    def reader_of(self, req: falcon.Request) -> Caller:
        """Return the caller, who must see everything. Raises as `caller_of`, Problem 403."""
        caller = self.caller_of(req)
        caller.require_sees_all()
        return caller

    def admin_of(self, req: falcon.Request) -> Caller:
        """Return the caller, who must be an administrator. Raises as `caller_of`, Problem 403."""
        caller = self.caller_of(req)
        caller.require_role("ADMIN")
        return caller

    def caller_by_cookie(self, header: str | None) -> Caller:
        """Return the caller of this `Cookie` header: ANONYMOUS without a valid cookie. Raises StoreAway."""
        value = _cookie(header)
        if value is None or len(value) > MAX_COOKIE:
            return ANONYMOUS
        return self._cache.get(value, lambda: self._caller_by_token(value))

    def user_by_key(self, id: str, secret: str) -> tuple[Document, Document]:
        """Return the user and the API key of this id, with or without `credential/`, if the secret is right.

        Raises Problem 403, StoreAway.
        """
        name = id.removeprefix("credential/")
        (key,) = self._store.get([f"credential/{name}"]) if len(name) <= MAX_KEY_ID else (None,)
        if is_valid(key, secret) and key is not None:
            (user,) = self._store.get([f"user/{key['claims']['identity']}"])
            if user is not None and belongs_to(key, user):
                return user, key
        raise invalid_credentials(id[:MAX_KEY_ID], is_known=key is not None)

    def end(self, id: str) -> None:
        """Log out: revoke the session's cookie. Raises StoreError: the cookie may still be valid."""
        with suppress(NoSuchDocument):
            write_one(self._store, Update(id, lambda document: None))
        self._cache.revoke(lambda caller: id in caller.roles)

    def forget_user(self, username: str) -> None:
        """Look the user up again at the next request, after a change of the user's document."""
        self._cache.revoke(lambda caller: caller.username == username)

    def end_key(self, id: str) -> None:
        """Delete the sessions of a deleted key; their cookies are invalid already. Raises StoreAway."""
        self._cache.revoke(lambda caller: caller.key == id)
        self._delete(Compare(("credential", "href"), "=", id))

    def end_all(self, username: str) -> None:
        """Delete the sessions of a user who is deleted or has a new password; their cookies are invalid already.

        Raises StoreAway.
        """
        self._delete(Compare(("username",), "=", username))

    def sweep(self) -> None:
        """Delete the sessions that have expired, and renew the signing keys. Raises StoreError."""
        self._keys.renew()
        self._delete(Compare(("expiry",), "<", cimi_time(now())))

    def _delete(self, filter: Filter) -> None:
        while len(self._store.delete("session", Query(filter=filter), SLICE)) == SLICE:
            pass

    def _caller_by_key(self, token: str) -> Caller:
        id, _, secret = token.removeprefix("credential/").partition(".")
        user, key = self.user_by_key(id, secret)
        return Caller(user["username"], roles_of(user, key), key["id"])

    def _caller_by_token(self, value: str) -> Caller:
        try:
            id, username, *keys = self._keys.signer.loads(value.removeprefix("token="))
        except (BadData, ValueError, TypeError):
            return ANONYMOUS
        session, user, *found = self._store.get([id, f"user/{username}", *keys])
        if session is None or user is None or not _is_session_valid(session, user, found):
            return ANONYMOUS
        return Caller(username, roles_of(user, *found) | {id}, *keys)


def invalid_credentials(name: str, is_known: bool) -> Problem:
    """Return and log the refusal of a log-in. An unknown name is not logged: it may be a misplaced password."""
    log.warning("log-in refused for %s", repr(name) if is_known else "an unknown name", extra=SELDOM)
    return Problem(403, f"invalid credentials for '{name}'", resource_id=name)


def roles_of(user: Document, key: Document | None = None) -> frozenset[str]:
    """Return the roles of a user without the session's; with a key, only the roles that both have."""
    roles = frozenset(user["roles"].split())
    if key is not None:
        roles = (roles | ADMIN_INCLUDES if "ADMIN" in roles else roles) & set(key["claims"]["roles"])
    return roles | {"USER", "ANON"}


def _is_session_valid(session: Document, user: Document, keys: list[Document | None]) -> bool:
    """Return whether a stored session is valid. `keys`: the key that opened the session; empty for a password."""
    if keys:
        is_valid = all(key is not None and belongs_to(key, user) for key in keys)
    else:
        is_valid = session["_password"] == user["_generation"]
    return is_valid and bool(session["expiry"] > cimi_time(now()))


def _cookie(header: str | None) -> str | None:
    for part in (header or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return None
