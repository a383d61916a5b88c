"""`credential`: API keys. Everybody has his own, an administrator sees and deletes all of them (CIMI.md §2).

A key is made by who has shown his password: one that has leaked cannot make itself another that outlives it.
"""

from __future__ import annotations

from datetime import timedelta

import falcon

from geventjob.cimi.document import Document
from geventjob.server.accounts.access import LESSER, MODIFY, VIEW, Caller, acl
from geventjob.server.accounts.keys import new_key, new_secret
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation, selected, shown
from geventjob.server.filter import Compare
from geventjob.server.http.answer import done, give, report
from geventjob.server.http.receive import read
from geventjob.server.problem import Problem, forbidden
from geventjob.server.resources.bodies import KeyAdd, KeyTemplate, body_of
from geventjob.server.resources.search import asked, collection, parameters, selection
from geventjob.server.store.base import Insert, Query, Store, Update

_ACL = acl("ROLE", "ADMIN", [("ROLE", "USER", "MODIFY")])

SLICE = 1_000
"""Keys that one call to the store deletes."""


class CredentialResource:
    """The secret is in the answer to an add, and nowhere else."""

    def __init__(self, store: Store, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = self._caller(req)
        caller.need_role("USER")
        body = body_of(KeyAdd, read(req))
        secret = new_secret()
        key = self._made(caller, body.credential_template, secret) | body.texts()
        (result,) = self._store.write([Insert(key)])
        if isinstance(result, Exception):
            raise result
        resp.set_header("Location", key["id"])
        give(resp, report(key["id"], "created", 201) | {"secretKey": secret}, 201)

    def _made(self, caller: Caller, template: KeyTemplate, secret: str) -> Document:
        if caller.key is not None:
            raise Problem(403, "a key makes no other keys: log in with the password")
        (user,) = self._store.get([f"user/{caller.username}"])
        if user is None:
            raise forbidden()
        life = timedelta(seconds=template.ttl) if template.ttl else None
        return new_key(user, secret, _roles(caller, template), life)

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = self._caller(req)
        caller.need_role("USER")
        given, wanted = asked(req, caller)
        answer = collection(
            "credential",
            self._store.search("credential", wanted),
            acl=_ACL,
            operations=[operation("add", "credential")],
            item_operations=lambda key: _operations(key, caller),
            select=selection(given),
        )
        give(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        key, caller = self._find(req, name, VIEW)
        give(resp, selected(shown(key), selection(parameters(req))) | {"operations": _operations(key, caller)})

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        key, caller = self._find(req, name, MODIFY)
        if not _may_delete(key, caller):
            raise forbidden()
        (result,) = self._store.write([Update(key["id"], lambda key: None)])
        if isinstance(result, Exception):
            raise result
        self._sessions.end_key(key["id"])
        done(resp, key["id"], "deleted")

    def _caller(self, req: falcon.Request) -> Caller:
        return self._sessions.caller_of(req)

    def _find(self, req: falcon.Request, name: str, rights: frozenset[str]) -> tuple[Document, Caller]:
        caller = self._caller(req)
        (found,) = self._store.get([f"credential/{name}"])
        return caller.seen(f"credential/{name}", found, rights), caller


def delete_keys(store: Store, username: str) -> None:
    """Delete the keys of a user who is gone: they are good for nothing already. Raises StoreAway."""
    own = Query(filter=Compare(("claims", "identity"), "=", username))
    while len(store.delete("credential", own, SLICE)) == SLICE:
        pass


def _roles(caller: Caller, template: KeyTemplate) -> set[str]:
    """The roles of a key: those asked for, else all that its maker has now. Raises Problem 403."""
    own = {role for role in caller.roles if not role.startswith("session/")}
    wanted = set(template.roles.split()) if isinstance(template.roles, str) else own
    if wanted - own - (LESSER if caller.admin else set()):
        raise Problem(403, f"a key has roles of its user only, not {' '.join(sorted(wanted - own))}")
    return wanted | {"USER", "ANON"}


def _operations(key: Document, caller: Caller) -> list[dict[str, str]]:
    return [operation("delete", key["id"])] if _may_delete(key, caller) else []


def _may_delete(key: Document, caller: Caller) -> bool:
    """A key may always end itself."""
    return caller.may(MODIFY, key) and (caller.governs or caller.key == key["id"])
