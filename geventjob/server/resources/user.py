"""`user`: the users. Administrators manage all users; users change and delete themselves."""

from __future__ import annotations

import falcon

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import MODIFY, VIEW, acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.accounts.users import new_user, password_attributes
from geventjob.server.document import operation, public
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json, set_result
from geventjob.server.problem import Problem, forbidden
from geventjob.server.resources.bodies import UserAdd, UserEdit
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.credential import delete_keys
from geventjob.server.resources.search_parameters import search_query, selection
from geventjob.server.store.base import DuplicateKey, Insert, Store, Update, write_one

_ACL = acl("ROLE", "ADMIN", [("ROLE", "USER", "VIEW")])


class UserResource:
    """Users. A new password and a deletion end all sessions of the user; only a deletion deletes the user's keys."""

    def __init__(self, store: Store, sessions: Sessions, passwords: Passwords) -> None:
        self._store = store
        self._sessions = sessions
        self._passwords = passwords

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a user."""
        self._caller(req).require_role("ADMIN")
        body = decode_as(UserAdd, read_body(req))
        user = new_user(body.username, self._passwords.hash(body.password), body.roles) | body.texts()
        try:
            write_one(self._store, Insert(user))
        except DuplicateKey:
            raise Problem(409, f"conflict with {user['id']}", resource_id=user["id"]) from None
        set_result(resp, user["id"], "created", 201)

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the users that the caller may see."""
        caller = self._caller(req)
        caller.require_role("USER")
        given, wanted = search_query(req, caller)
        page = self._store.search("user", wanted)
        operations = [operation("add", "user")] if caller.is_admin else []
        answer = collection(
            "user",
            page,
            acl=_ACL,
            operations=operations,
            item_operations=lambda user: _operations(user, caller),
            select=selection(given),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one user."""
        user, caller = self._find(req, name, VIEW)
        set_json(resp, one(req, user, _operations(user, caller)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Change a user's password, texts or roles."""
        user, caller = self._find(req, name, MODIFY)
        body = decode_as(UserEdit, read_body(req))
        change = body.texts() | self._password(user, caller, body) | _roles(caller, body)
        edited = write_one(self._store, Update(user["id"], lambda user: user | change | {"updated": cimi_time(now())}))
        self._sessions.forget_user(user["username"])
        if "_hash" in change:
            self._sessions.end_all(user["username"])
        assert edited is not None
        set_json(resp, public(edited))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a user with all sessions and keys."""
        user, _ = self._find(req, name, MODIFY)
        write_one(self._store, Update(user["id"], lambda user: None))
        self._sessions.forget_user(user["username"])
        self._sessions.end_all(user["username"])
        delete_keys(self._store, user["username"])
        set_result(resp, user["id"], "deleted")

    def _caller(self, req: falcon.Request) -> Caller:
        return self._sessions.caller_of(req)

    def _find(self, req: falcon.Request, name: str, rights: frozenset[str]) -> tuple[Document, Caller]:
        caller = self._caller(req)
        (found,) = self._store.get([f"user/{name}"])
        user = caller.require_visible(f"user/{name}", found, rights)
        if rights is MODIFY and not caller.may_change_accounts:
            raise forbidden()
        return user, caller

    def _password(self, user: Document, caller: Caller, body: UserEdit) -> dict[str, str]:
        """Return the attributes of a new password. Raises Problem 403 if the old password is required and wrong."""
        if not isinstance(body.password, str):
            return {}
        old = body.old_password if isinstance(body.old_password, str) else ""
        if not caller.is_admin and not self._passwords.matches(user["_hash"], old):
            raise Problem(403, f"invalid credentials for '{user['username']}': oldPassword is wrong")
        return password_attributes(self._passwords.hash(body.password))


def _roles(caller: Caller, body: UserEdit) -> dict[str, str]:
    if not isinstance(body.roles, str):
        return {}
    if not caller.is_admin:
        raise forbidden()
    return {"roles": body.roles}


def _operations(user: Document, caller: Caller) -> list[dict[str, str]]:
    may = caller.may_change_accounts and caller.may(MODIFY, user)
    return [operation(rel, user["id"]) for rel in ("edit", "delete") if may]
