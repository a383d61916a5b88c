"""Cookies and passwords where time and other servers play a part; the rest is seen over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventjob.server import sessions as module
from geventjob.server.access import ANYBODY
from geventjob.server.password import Passwords
from geventjob.server.problem import Problem
from geventjob.server.resources.user import new_user
from geventjob.server.sessions import COOKIE, Sessions, signing_key
from geventjob.server.store.base import Document, Insert, Query, Update
from geventjob.server.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db")
    made.start()
    yield made
    made.close()


@pytest.fixture
def user(store: SqliteStore) -> Document:
    made = new_user("ann", "hash", "USER")
    store.write([Insert(made)])
    return made


@pytest.fixture
def sessions(store: SqliteStore) -> Sessions:
    return Sessions(store, signing_key(store))


def opened(sessions: Sessions, user: Document) -> tuple[str, str]:
    """The id of a new session, and its cookie as a header."""
    session, token = sessions.open(user, "session-template/internal")
    return session["id"], f"other=1; {COOKIE}={token}"


def test_the_key_is_made_once(store: SqliteStore) -> None:
    assert signing_key(store) == signing_key(store)


def test_a_cookie_signed_with_another_key_is_nobodys(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    _, cookie = opened(Sessions(store, "another key"), user)
    assert sessions.caller(cookie) is ANYBODY


def test_an_old_cookie_is_nobodys_and_is_swept(
    store: SqliteStore, sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fresh = opened(sessions, user)
    monkeypatch.setattr(module, "LIFE", timedelta(seconds=-1))
    _, old = opened(sessions, user)
    assert sessions.caller(old) is ANYBODY
    assert sessions.caller(fresh).username == "ann"
    assert store.search("session", Query(last=0)).count == 2
    sessions.sweep()
    assert store.search("session", Query(last=0)).count == 1
    assert sessions.caller(fresh).username == "ann"


def test_a_known_cookie_does_not_ask_the_store(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    id, cookie = opened(sessions, user)
    first = sessions.caller(cookie)
    store.get = pytest.fail  # type: ignore[method-assign]
    assert sessions.caller(cookie) is first
    assert first.principals == {"USER ann", "ROLE USER", "ROLE ANON", f"ROLE {id}"}


def test_another_server_hears_of_a_log_out(
    store: SqliteStore, sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE", 0.0)
    other = Sessions(store, signing_key(store))
    id, cookie = opened(sessions, user)
    assert other.caller(cookie).username == "ann"
    sessions.end(id)
    assert other.caller(cookie) is ANYBODY


def test_what_is_revoked_while_it_is_looked_up_is_not_kept(
    store: SqliteStore, sessions: Sessions, user: Document
) -> None:
    id, cookie = opened(sessions, user)
    asked, go, get = Event(), Event(), store.get

    def slow(ids: Any) -> Any:
        found = get(ids)
        asked.set()
        go.wait()
        return found

    store.get = slow  # type: ignore[method-assign]
    asking = gevent.spawn(sessions.caller, cookie)
    assert asked.wait(3)
    store.get = get  # type: ignore[method-assign]
    sessions.end(id)
    go.set()
    asking.get(timeout=3)
    assert sessions.caller(cookie) is ANYBODY


def test_a_log_in_that_raced_a_new_password_is_void(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    store.write([Update(user["id"], lambda user: user | {"_generation": "another"})])
    sessions.end_all("ann")
    _, cookie = opened(sessions, user)  # with the user as he was when the old password was checked
    assert sessions.caller(cookie) is ANYBODY


def test_the_cache_is_bounded(sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    for _ in range(6):
        assert sessions.caller(opened(sessions, user)[1]).username == "ann"
    assert len(sessions._known) == 3


def test_passwords_are_hashed_beside_everything_else() -> None:
    passwords = Passwords(threads=1, waiting=1)
    hashing = [gevent.spawn(passwords.hash, "secret") for _ in range(3)]
    turns = 0
    while not hashing[0].ready():
        gevent.sleep(0)
        turns += 1
    assert turns > 10
    gevent.joinall(hashing)
    error = hashing[2].exception
    assert isinstance(error, Problem)
    assert (error.status, error.retry_after) == (503, 1)
    hash = hashing[0].value
    assert hash != hashing[1].value
    assert "secret" not in hash
    assert passwords.matches(hash, "secret")
    assert not passwords.matches(hash, "Secret")
    assert not passwords.matches(None, "")
