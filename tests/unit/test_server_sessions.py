"""Sessions, API keys and passwords: expiry, revocation by other servers, caches. Tests over HTTP have the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import falcon.testing
import gevent
import pytest
from gevent.event import Event
from itsdangerous import BadSignature, URLSafeSerializer

from geventjob.cimi.document import COOKIE, Document
from geventjob.clock import now
from geventjob.coordination.base import Coordination
from geventjob.server.accounts import caller_cache, first_user, signing_keys
from geventjob.server.accounts import sessions as module
from geventjob.server.accounts.api_keys import ALPHABET, belongs_to, is_valid, new_key, new_secret
from geventjob.server.accounts.caller import ANONYMOUS
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.accounts.signing_keys import SigningKeys
from geventjob.server.accounts.users import new_user
from geventjob.server.app import application
from geventjob.server.problem import Problem
from geventjob.server.store.base import Insert, Query, StoreError, StoreRefused, Update
from geventjob.server.store.sqlite import SqliteStore

SECRET = "aaaaaa.bbbbbb.cccccc.dddddd.eeeeee"


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
    return Sessions(store)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock; return a function that moves it on by some seconds."""
    passed = [0.0]

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(caller_cache, "boottime", lambda: passed[0])
    return go_on


def opened(sessions: Sessions, user: Document) -> tuple[str, str]:
    """Open a session; return its id, and its cookie as a header."""
    session, token = sessions.open(user, "session-template/internal")
    return session["id"], f"other=1; {COOKIE}={token}"


def test_the_key_is_made_once(store: SqliteStore) -> None:
    assert SigningKeys(store).signer.dumps("x") == SigningKeys(store).signer.dumps("x")


def test_a_cookie_signed_with_another_key_is_anonymous(store: SqliteStore, user: Document) -> None:
    _, cookie = opened(Sessions(store), user)
    store.write([Update("secret/cookie", lambda keys: keys | {"keys": [{"key": "another", "since": ""}]})])
    assert Sessions(store).caller_by_cookie(cookie) is ANONYMOUS


@pytest.fixture
def week(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that moves the time of the signing keys on."""
    started, passed = now(), [timedelta()]
    monkeypatch.setattr(signing_keys, "now", lambda: started + passed[0])

    def go_on(**time: float) -> None:
        passed[0] += timedelta(**time)

    return go_on


def test_a_new_key_ends_no_session_on_any_server(
    store: SqliteStore, sessions: Sessions, user: Document, week: Callable[..., None]
) -> None:
    slow = SigningKeys(store)  # of a server that has not read the keys since
    before = SigningKeys(store).signer.dumps("x")
    week(days=7)
    keys = SigningKeys(store)
    keys.renew()
    assert keys.signer.dumps("x") == before == slow.signer.dumps("x")
    week(hours=3)
    after = keys.signer.dumps("x")
    assert after != before
    slow.renew()
    assert [slow.signer.loads(token) for token in (before, after)] == ["x", "x"]
    assert len(store.get(["secret/cookie"])[0]["keys"]) == 2  # type: ignore[index]
    keys.renew()
    week(days=7)
    keys.renew()
    assert keys.signer.loads(after) == "x"
    with pytest.raises(BadSignature):
        keys.signer.loads(before)
    assert len(store.get(["secret/cookie"])[0]["keys"]) == 2  # type: ignore[index]


def test_the_one_key_of_earlier_versions_goes_on_verifying(store: SqliteStore, week: Callable[..., None]) -> None:
    store.write([Insert({"id": "secret/cookie", "key": "old"})])
    cookie = SigningKeys(store).signer.dumps("x")
    assert URLSafeSerializer("old", salt="session").loads(cookie) == "x"
    keys = SigningKeys(store)
    keys.renew()
    week(hours=4)
    assert keys.signer.dumps("x") != cookie
    assert keys.signer.loads(cookie) == "x"


def test_an_expired_session_is_anonymous_and_is_swept(
    store: SqliteStore, sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fresh = opened(sessions, user)
    monkeypatch.setattr(module, "LIFETIME", timedelta(seconds=-1))
    _, old = opened(sessions, user)
    assert sessions.caller_by_cookie(old) is ANONYMOUS
    assert sessions.caller_by_cookie(fresh).username == "ann"
    assert store.search("session", Query(last=0)).count == 2
    sessions.sweep()
    assert store.search("session", Query(last=0)).count == 1
    assert sessions.caller_by_cookie(fresh).username == "ann"


def test_a_known_cookie_does_not_ask_the_store(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    id, cookie = opened(sessions, user)
    first = sessions.caller_by_cookie(cookie)
    store.get = pytest.fail  # type: ignore[method-assign,assignment]
    assert sessions.caller_by_cookie(cookie) is first
    assert first.principals == {"USER ann", "ROLE USER", "ROLE ANON", f"ROLE {id}"}


def test_a_log_out_takes_effect_on_another_server(
    store: SqliteStore, sessions: Sessions, user: Document, clock: Callable[[float], None]
) -> None:
    other = Sessions(store)
    id, cookie = opened(sessions, user)
    assert other.caller_by_cookie(cookie).username == "ann"
    sessions.end(id)
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS
    clock(caller_cache.SECONDS)
    assert other.caller_by_cookie(cookie) is ANONYMOUS


def test_a_log_out_that_was_not_written_has_no_effect(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    id, cookie = opened(sessions, user)
    write = store.write
    store.write = lambda items, seen=None: [StoreRefused("disk full") for _ in items]  # type: ignore[method-assign]
    with pytest.raises(StoreRefused):
        sessions.end(id)
    assert sessions.caller_by_cookie(cookie).username == "ann"
    store.write = write  # type: ignore[method-assign]
    sessions.end(id)
    sessions.end(id)
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS


def test_a_session_revoked_during_its_look_up_is_not_cached(
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
    asking = gevent.spawn(sessions.caller_by_cookie, cookie)
    assert asked.wait(3)
    store.get = get  # type: ignore[method-assign]
    sessions.end(id)
    go.set()
    asking.get(timeout=3)
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS


def test_a_log_in_that_raced_a_new_password_is_void(store: SqliteStore, sessions: Sessions, user: Document) -> None:
    store.write([Update(user["id"], lambda user: user | {"_generation": "another"})])
    sessions.end_all("ann")
    _, cookie = opened(sessions, user)  # with the user at the check of the old password
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS


# --- keys


@pytest.fixture
def key(store: SqliteStore, user: Document) -> Document:
    made = new_key(user, SECRET, {"USER"}, None)
    store.write([Insert(made)])
    return made


def by_key(sessions: Sessions, user: Document, key: Document) -> str:
    return f"{COOKIE}={sessions.open(user, 'session-template/api-key', key)[1]}"


def test_the_deletion_of_a_key_takes_effect_on_another_server(
    store: SqliteStore, sessions: Sessions, user: Document, key: Document, clock: Callable[[float], None]
) -> None:
    other = Sessions(store)
    cookie = by_key(sessions, user, key)
    assert other.caller_by_cookie(cookie).key == key["id"]
    store.write([Update(key["id"], lambda key: None)])
    sessions.end_key(key["id"])
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS
    clock(caller_cache.SECONDS)
    assert other.caller_by_cookie(cookie) is ANONYMOUS


def test_the_deletion_of_a_key_ends_sessions_that_are_still_stored(
    store: SqliteStore, sessions: Sessions, user: Document, key: Document
) -> None:
    store.write([Update(key["id"], lambda key: None)])
    cookie = by_key(sessions, user, key)  # with the key at the check of its secret
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS
    assert store.search("session", Query(last=0)).count == 1


def test_a_later_user_of_the_same_name_does_not_inherit_a_key(
    store: SqliteStore, sessions: Sessions, user: Document, key: Document
) -> None:
    cookie = by_key(sessions, user, key)
    store.write([Update(user["id"], lambda user: user | {"_generation": "a new password"})])
    assert sessions.caller_by_cookie(cookie).username == "ann"
    assert belongs_to(key, user)
    following = user | {"created": "2000-01-01T00:00:00.000Z"}
    store.write([Update(user["id"], lambda user: following)])
    sessions.forget_user("ann")
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS
    assert not belongs_to(key, following)


def test_a_session_expires_with_its_key(sessions: Sessions, user: Document) -> None:
    short, long = (new_key(user, SECRET, {"USER"}, timedelta(hours=hours)) for hours in (1, 48))
    assert sessions.open(user, "session-template/api-key", short)[0]["expiry"] == short["expiry"]
    assert sessions.open(user, "session-template/api-key", long)[0]["expiry"] < long["expiry"]


def test_a_key_is_valid_with_its_secret_until_it_expires(user: Document) -> None:
    key = new_key(user, SECRET, {"USER"}, None)
    assert SECRET not in str(key)
    assert is_valid(key, SECRET)
    assert is_valid(key, SECRET.replace(".", " -0"))
    assert not is_valid(key, SECRET.swapcase())
    assert not is_valid(None, SECRET)
    assert not is_valid(None, "")
    assert is_valid(new_key(user, SECRET, {"USER"}, timedelta(seconds=60)), SECRET)
    assert not is_valid(new_key(user, SECRET, {"USER"}, timedelta(seconds=-1)), SECRET)


def test_secrets_are_random() -> None:
    made = {new_secret() for _ in range(200)}
    assert len(made) == 200
    assert {letter for secret in made for letter in secret} == {*ALPHABET, "."}


def test_the_cache_is_bounded(sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_cache, "ENTRIES", 3)
    for _ in range(6):
        assert sessions.caller_by_cookie(opened(sessions, user)[1]).username == "ann"
    assert len(sessions._cache) == 3


def test_hashing_a_password_does_not_block_the_event_loop() -> None:
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
    assert "secret" not in str(hash)
    assert passwords.matches(hash, "secret")
    assert not passwords.matches(hash, "Secret")
    assert not passwords.matches(None, "")


def test_a_cookie_that_is_too_long_is_ignored(
    sessions: Sessions, user: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = opened(sessions, user)[1]
    assert len(cookie) < module.MAX_COOKIE
    assert sessions.caller_by_cookie(cookie).username == "ann"
    value = cookie.partition(COOKIE + "=")[2]
    monkeypatch.setattr(module, "MAX_COOKIE", len(value) - 1)
    assert sessions.caller_by_cookie(cookie) is ANONYMOUS


def test_a_short_password_for_the_first_user_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    passwords = Passwords()
    with pytest.raises(StoreError, match="--admin-pass-file: the password has 7 characters: 8 at least"):
        first_user.ensure(store, passwords, "7 chars", tmp_path)
    assert store.get(["user/super"]) == [None]
    first_user.ensure(store, passwords, "8 chars.", tmp_path)
    assert store.get(["user/super"]) != [None]


# --- the cookie


@pytest.mark.parametrize(
    ("base_uri", "headers", "secure"),
    [
        (None, {}, False),
        ("http://jobs.example.org/api/", {}, False),
        ("https://jobs.example.org/api/", {}, True),
        ("HTTPS://jobs.example.org", {}, True),
        (None, {"X-Forwarded-Proto": "https"}, True),
        ("http://jobs.example.org/api/", {"X-Forwarded-Proto": "https"}, True),
    ],
)
def test_the_cookie_is_secure_where_clients_use_https(
    store: SqliteStore, sessions: Sessions, base_uri: str | None, headers: dict[str, str], secure: bool
) -> None:
    passwords = Passwords(threads=1)
    store.write([Insert(new_user("bob", passwords.hash("for-tests-only"), "USER"))])
    coordination = cast(Coordination, SimpleNamespace())
    app = application(store, coordination, sessions, passwords, "0", base_uri)
    template = {"href": "session-template/internal", "username": "bob", "password": "for-tests-only"}
    client = falcon.testing.TestClient(app)
    response = client.simulate_post("/api/session", json={"sessionTemplate": template}, headers=headers)
    assert response.status_code == 201
    assert ("; Secure" in response.headers["Set-Cookie"]) is secure
