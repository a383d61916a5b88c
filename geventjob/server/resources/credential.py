"""`credential`: API keys. Users see and delete their own keys, administrators all keys.

Making a key takes a log-in by password: a leaked key cannot make another key that outlives it.
"""

from __future__ import annotations

from datetime import timedelta

import falcon

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import MODIFY, VIEW, acl
from geventjob.server.accounts.api_keys import new_key, new_secret
from geventjob.server.accounts.caller import ADMIN_INCLUDES, Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation
from geventjob.server.filter import Compare
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import result_of, set_json, set_result
from geventjob.server.problem import Problem, forbidden
from geventjob.server.resources.bodies import KeyAdd, KeyTemplate
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.search_parameters import search_query, selection
from geventjob.server.store.base import Insert, Query, Store, Update, write_one

_ACL = acl("ROLE", "ADMIN", [("ROLE", "USER", "MODIFY")])

SLICE = 1_000
"""Keys that one call to the store deletes."""


class CredentialResource:
    """API keys. Only the response to an add contains the secret."""

    def __init__(self, store: Store, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a key, and respond with its secret."""
        caller = self._caller(req)
        caller.require_role("USER")
        body = decode_as(KeyAdd, read_body(req))
        secret = new_secret()
        key = self._new_key(caller, body.credential_template, secret) | body.texts()
        write_one(self._store, Insert(key))
        resp.set_header("Location", key["id"])
        set_json(resp, result_of(key["id"], "created", 201) | {"secretKey": secret}, 201)

    def _new_key(self, caller: Caller, template: KeyTemplate, secret: str) -> Document:
        if caller.key is not None:
            raise Problem(403, "a key makes no other keys: log in with the password")
        (user,) = self._store.get([f"user/{caller.username}"])
        if user is None:
            raise forbidden()
        lifetime = timedelta(seconds=template.ttl) if template.ttl else None
        return new_key(user, secret, _roles(caller, template), lifetime)

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the keys that the caller may see."""
        caller = self._caller(req)
        caller.require_role("USER")
        given, wanted = search_query(req, caller)
        answer = collection(
            "credential",
            self._store.search("credential", wanted),
            acl=_ACL,
            operations=[operation("add", "credential")],
            item_operations=lambda key: _operations(key, caller),
            select=selection(given),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one key, without its secret."""
        key, caller = self._find(req, name, VIEW)
        set_json(resp, one(req, key, _operations(key, caller)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a key and its sessions."""
        key, caller = self._find(req, name, MODIFY)
        if not _may_delete(key, caller):
            raise forbidden()
        write_one(self._store, Update(key["id"], lambda key: None))
        self._sessions.end_key(key["id"])
        set_result(resp, key["id"], "deleted")

    def _caller(self, req: falcon.Request) -> Caller:
        return self._sessions.caller_of(req)

    def _find(self, req: falcon.Request, name: str, rights: frozenset[str]) -> tuple[Document, Caller]:
        caller = self._caller(req)
        (found,) = self._store.get([f"credential/{name}"])
        return caller.require_visible(f"credential/{name}", found, rights), caller


def delete_keys(store: Store, username: str) -> None:
    """Delete the keys of a deleted user; the keys are invalid already. Raises StoreAway."""
    own = Query(filter=Compare(("claims", "identity"), "=", username))
    while len(store.delete("credential", own, SLICE)) == SLICE:
        pass


def _roles(caller: Caller, template: KeyTemplate) -> set[str]:
    """Return the roles of a new key: those requested, else all roles of the caller. Raises Problem 403."""
    own = {role for role in caller.roles if not role.startswith("session/")}
    wanted = set(template.roles.split()) if isinstance(template.roles, str) else own
    if wanted - own - (ADMIN_INCLUDES if caller.is_admin else set()):
        raise Problem(403, f"a key has roles of its user only, not {' '.join(sorted(wanted - own))}")
    return wanted | {"USER", "ANON"}


def _operations(key: Document, caller: Caller) -> list[dict[str, str]]:
    return [operation("delete", key["id"])] if _may_delete(key, caller) else []


def _may_delete(key: Document, caller: Caller) -> bool:
    """Return whether the caller may delete the key; a key may always delete itself."""
    return caller.may(MODIFY, key) and (caller.may_change_accounts or caller.key == key["id"])
