"""`session`: log in, read sessions, log out (docs/reference/api.md, "Authentication")."""

from __future__ import annotations

import email.utils
from dataclasses import replace
from urllib.parse import parse_qsl

import falcon

from geventjob.cimi.document import COOKIE, KEY_LOG_IN, USER_LOG_IN, Document
from geventjob.clock import cimi_time, moment_of, now
from geventjob.server.accounts.acl import MODIFY, VIEW, acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.login_throttle import LoginThrottle
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions, invalid_credentials
from geventjob.server.document import operation, public
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.http.client_address import uses_https
from geventjob.server.http.decode import convert, decode_as
from geventjob.server.http.request_body import FORM, JSON, MAX_FORM, read_body, text
from geventjob.server.http.response import set_json, set_result
from geventjob.server.problem import forbidden, not_found
from geventjob.server.resources.bodies import Href, KeyLogIn, PasswordLogIn, SessionAdd
from geventjob.server.resources.collection import collection
from geventjob.server.resources.search_parameters import search_parameters, search_query
from geventjob.server.store.base import Page, Store

_ACL = acl("ROLE", "ADMIN", [("ROLE", "ANON", "VIEW")])


class SessionResource:
    """Sessions. A session belongs to itself; its user may end it from another session, but not by an API key."""

    def __init__(self, store: Store, sessions: Sessions, passwords: Passwords, base_uri: str | None = None) -> None:
        """`base_uri`: the server's address as clients use it; None: taken from each request."""
        self._base_uri = base_uri
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._throttle = LoginThrottle()

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Log in, by password or by API key."""
        given = _log_in(req)
        if isinstance(given, KeyLogIn):
            user, key = self._sessions.user_by_key(given.key, given.secret)
        else:
            with self._throttle.attempt(given.username, req.remote_addr):
                user, key = self._by_password(given), None
        session, token = self._sessions.open(user, given.href, key, req.remote_addr)
        _set_cookie(resp, token, session["expiry"], is_secure=uses_https(req, self._base_uri))
        set_result(resp, session["id"], "created", 201)

    def _by_password(self, given: PasswordLogIn) -> Document:
        (user,) = self._store.get([f"user/{given.username}"])
        hash = None if user is None else user["_hash"]
        if not self._passwords.matches(hash, given.password) or user is None:
            raise invalid_credentials(given.username, is_known=user is not None)
        return user

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the session of the request, whatever the search; with `all=true` search all sessions."""
        caller = self._sessions.caller_of(req)
        if req.get_param("all") == "true":
            page = self._search(req, caller)
        else:
            search_parameters(req)
            own = [document for document in self._store.get(_own(caller)) if document is not None]
            page = Page(len(own), own)
        answer = collection(
            "session",
            page,
            acl=_ACL,
            operations=[operation("add", "session")],
            item_operations=lambda session: _operations(session, caller),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def _search(self, req: falcon.Request, caller: Caller) -> Page:
        """Return a page of the sessions that the caller may see and that have not expired."""
        caller.require_role("USER")
        _, wanted = search_query(req, caller)
        live: Filter = Compare(("expiry",), ">", cimi_time(now()))
        return self._store.search(
            "session", replace(wanted, filter=And((live, wanted.filter)) if wanted.filter else live)
        )

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one session."""
        session, caller = self._find(req, name, VIEW)
        set_json(resp, public(session) | {"operations": _operations(session, caller)})

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Log out: end this session, or another one of the user."""
        session, caller = self._find(req, name, MODIFY)
        if not _may_end(session, caller):
            raise forbidden()
        self._sessions.end(session["id"])
        if session["id"] in caller.roles:
            resp.append_header("Set-Cookie", f"{COOKIE}=INVALID;Path=/;Max-Age=0")
        set_result(resp, session["id"], "deleted")

    def _find(self, req: falcon.Request, name: str, rights: frozenset[str]) -> tuple[Document, Caller]:
        caller = self._sessions.caller_of(req)
        (found,) = self._store.get([f"session/{name}"])
        return caller.require_visible(f"session/{name}", found, rights), caller


_LOG_INS: dict[str, type[PasswordLogIn | KeyLogIn]] = {USER_LOG_IN: PasswordLogIn, KEY_LOG_IN: KeyLogIn}


def _log_in(req: falcon.Request) -> PasswordLogIn | KeyLogIn:
    data = read_body(req, MAX_FORM, JSON, FORM)
    if (req.content_type or "").startswith(FORM):
        template: Document = dict(parse_qsl(text(data), keep_blank_values=True))
    else:
        template = decode_as(SessionAdd, data).session_template
    href = convert(Href, template).href
    if href not in _LOG_INS:
        raise not_found(href)
    return convert(_LOG_INS[href], template)


def _set_cookie(resp: falcon.Response, token: str, expiry: str, *, is_secure: bool) -> None:
    """Set the cookie. Without https a client would drop a cookie that `is_secure`."""
    expires = email.utils.format_datetime(moment_of(expiry), usegmt=True)
    parts = [f"{COOKIE}={token}", "Path=/", f"Expires={expires}", "HttpOnly", "SameSite=Lax"]
    if is_secure:
        parts.append("Secure")
    resp.append_header("Set-Cookie", "; ".join(parts))


def _own(caller: Caller) -> list[str]:
    return [role for role in caller.roles if role.startswith("session/")]


def _may_end(session: Document, caller: Caller) -> bool:
    return session["id"] in caller.roles or (caller.may_change_accounts and caller.may(MODIFY, session))


def _operations(session: Document, caller: Caller) -> list[dict[str, str]]:
    return [operation("delete", session["id"])] if _may_end(session, caller) else []
