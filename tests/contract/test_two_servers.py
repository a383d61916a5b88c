"""Two servers over one store and one queue, in one process: any of them serves any client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import pytest
from falcon import testing
from gevent.event import Event

from geventjob.cimi.client import Client
from geventjob.cimi.document import COOKIE
from geventjob.cimi.errors import ServerAway
from geventjob.cimi.patience import patiently
from geventjob.coordination.base import Coordination, CoordinationAway
from geventjob.coordination.member import about
from geventjob.server.accounts import caller_cache, first_user
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.accounts.signing_keys import SigningKeys
from geventjob.server.app import application
from geventjob.server.http.server import HttpServer
from geventjob.server.store.base import Insert, Query, Store, StoreAway
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.coordination.fleets import connect
from tests.support.elastic_stores import elasticsearch_store
from tests.support.event_stream import OpenStream
from tests.support.job_server import Caller
from tests.support.waiting import eventually
from tests.support.zookeeper import shared as zookeeper

PASSWORD = "secret of super"
GENERATE = {"href": "credential-template/generate-api-key"}


class Mortal:
    """The access of a server to the store or the queue: once it is dead, no call of it has an effect."""

    def __init__(self, part: Any, error: type[Exception]) -> None:
        self._part = part
        self._error = error
        self.dead = False
        self.before: Callable[[str], object] = lambda call: None
        self.after: Callable[..., object] = lambda call, *args: None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return partial(self._call, name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.before(name)
        if self.dead:
            raise self._error("killed")
        result = method(*args, **options)
        self.after(name, *args)
        if self.dead:
            raise self._error("killed")
        return result


class Killable(HttpServer):
    """Knows its connections."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sockets: list[socket.socket] = []

    def handle(self, sock: socket.socket, address: Any) -> None:
        self.sockets.append(sock)
        super().handle(sock, address)

    def kill(self) -> None:
        self.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.connections.handlers.kill()


class One:
    """A server: its application, and HTTP in front of it."""

    def __init__(self, store: Store, coordination: Coordination, passwords: Passwords, folder: Path) -> None:
        self.store = Mortal(store, StoreAway)
        self.queue = Mortal(coordination, CoordinationAway)
        self.sessions = Sessions(self.store)  # type: ignore[arg-type]
        first_user.ensure(self.store, passwords, PASSWORD, folder)  # type: ignore[arg-type]
        self.app = application(self.store, self.queue, self.sessions, passwords, "0")  # type: ignore[arg-type]
        self.http = Killable(("127.0.0.1", 0), self.app)
        self.http.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def as_(self, cookie: str) -> Callable[..., testing.Result]:
        """Return a function that sends requests with this cookie: method, path below /api, JSON."""
        client = testing.TestClient(self.app, headers={"Cookie": cookie} if cookie else {})

        def ask(method: str, path: str, json: Any = None) -> testing.Result:
            return client.simulate_request(method, f"/api/{path}", json=json)

        return ask

    def log_in(self, **template: str) -> str:
        """Log in; return the cookie of the session."""
        full = {"href": "session-template/internal", "username": "super", "password": PASSWORD, **template}
        answer = self.as_("")("POST", "session", {"sessionTemplate": full})
        assert answer.status_code == 201, answer.text
        return f"{COOKIE}={answer.cookies[COOKIE].value}"

    def kill(self) -> None:
        """Act like kill -9 from outside: all work stops, and connections end without an answer."""
        self.store.dead = self.queue.dead = True
        self.http.kill()


@pytest.fixture(params=["elasticsearch and zookeeper", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stores(kind: str, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Yield the store of each server: a file has one owner, so both servers share its object."""
    if kind == "sqlite":
        both: tuple[Store, ...] = (SqliteStore(tmp_path / "store.db"),) * 2
    else:
        both = tuple(elasticsearch_store(tmp_path) for _ in range(2))
    for store in dict.fromkeys(both):
        store.start()
    yield both[0], both[1]
    for store in dict.fromkeys(both):
        store.close()


@pytest.fixture
def pair(kind: str, stores: tuple[Store, Store], tmp_path: Path) -> Iterator[tuple[One, One]]:
    if kind == "sqlite":
        where = {"path": str(tmp_path / "coordination.db")}
    else:
        where = {"hosts": zookeeper().hosts, "root": f"/{uuid4().hex}"}
    queues = [connect(where, name, 10) for name in ("a", "b")]
    for queue in queues:
        queue.start()
    passwords = Passwords()
    one, other = (One(store, queue, passwords, tmp_path) for store, queue in zip(stores, queues, strict=True))
    yield one, other
    for server in (one, other):
        server.http.finish(1)
    for queue in queues:
        queue.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time stands still for what servers know of sessions, but for so many seconds."""
    passed = [0.0]

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(caller_cache, "boottime", lambda: passed[0])
    return go_on


# --- the first start


def test_the_key_of_the_cookies_is_made_once(stores: tuple[Store, Store]) -> None:
    making = [gevent.spawn(SigningKeys, store) for store in stores * 3]
    gevent.joinall(making, raise_error=True)
    assert len({each.value.signer.dumps("x") for each in making}) == 1


class Race:
    """Two servers that start for the first time: the slow one finds `super` made when it comes to write him."""

    def __init__(self, stores: tuple[Store, Store], folders: tuple[Path, Path], password: str | None = None) -> None:
        quick, slow = stores[0], Mortal(stores[1], StoreAway)

        def overtaken(call: str) -> None:
            if call == "write" and slow.before is overtaken:
                slow.before = lambda call: None
                first_user.ensure(quick, Passwords(), None, folders[0])

        slow.before = overtaken
        first_user.ensure(slow, Passwords(), password, folders[1])  # type: ignore[arg-type]
        (user,) = quick.get(["user/super"])
        assert user is not None
        self.hash = user["_hash"]


@pytest.mark.parametrize("folders", ["11", "12"])
def test_super_is_made_once_and_his_password_is_told(stores: tuple[Store, Store], tmp_path: Path, folders: str) -> None:
    """Both may have one data folder."""
    first, second = (tmp_path / folder for folder in folders)
    race = Race(stores, (first, second))
    files = sorted(tmp_path.glob("*/admin-pass*"))
    assert files == [first / "admin-pass"]
    assert Passwords().matches(race.hash, files[0].read_text().strip())


def test_of_two_first_starts_the_one_that_was_given_a_password_wins(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    assert Passwords().matches(Race(stores, (tmp_path, tmp_path), PASSWORD).hash, PASSWORD)


# --- sessions


def test_a_cookie_is_good_on_every_server(pair: tuple[One, One]) -> None:
    one, other = pair
    cookie = one.log_in()
    assert other.as_(cookie)("GET", "node").status_code == 200
    found = other.as_(cookie)("GET", "session").json["sessions"]
    assert [session["username"] for session in found] == ["super"]


def log_out(one: One, cookie: str, key: str) -> testing.Result:
    id = one.as_(cookie)("GET", "session").json["sessions"][0]["id"]
    return one.as_(cookie)("DELETE", id)


ENDS: dict[str, Callable[[One, str, str], testing.Result]] = {
    "log-out": log_out,
    "password": lambda one, _, key: one.as_(one.log_in())("PUT", "user/ann", {"password": "another one"}),
    "role": lambda one, _, key: one.as_(one.log_in())("PUT", "user/ann", {"roles": "USER"}),
    "user": lambda one, _, key: one.as_(one.log_in())("DELETE", "user/ann"),
    "key": lambda one, _, key: one.as_(one.log_in())("DELETE", key),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_ends_on_one_server_ends_on_the_other_within_two_seconds(
    pair: tuple[One, One], end: str, clock: Callable[[float], None]
) -> None:
    one, other = pair
    boss = one.as_(one.log_in())
    ann = {"username": "ann", "password": "long enough"}
    assert boss("POST", "user", {**ann, "roles": "ADMIN USER"}).status_code == 201
    cookie = one.log_in(**ann)
    made = one.as_(cookie)("POST", "credential", {"credentialTemplate": GENERATE}).json
    if end == "key":
        answer = one.as_("")("POST", "session", {
            "sessionTemplate": {
                "href": "session-template/api-key", "key": made["resource-id"], "secret": made["secretKey"]
            }
        })  # fmt: skip
        cookie = f"{COOKIE}={answer.cookies[COOKIE].value}"

    def node(server: One) -> int:
        return server.as_(cookie)("GET", "node").status_code

    assert [node(one), node(other)] == [200, 200]
    assert ENDS[end](one, cookie, made["resource-id"]).status_code == 200
    assert node(one) == 403
    assert node(other) == 200, "it has not asked again"
    clock(caller_cache.SECONDS)
    assert node(other) == 403


# --- jobs


def test_a_job_is_on_every_server_once_its_add_is_answered(pair: tuple[One, One]) -> None:
    """Until the answer, another server may not know the job: executors ask again for some seconds."""
    one, other = pair
    cookie = one.log_in()
    put, go = Event(), Event()

    def hold(call: str) -> None:
        if call == "write":
            put.set()
            go.wait()

    one.store.before = hold
    adding = gevent.spawn(one.as_(cookie), "POST", "job", {"action": "a"})
    assert put.wait(3)
    (waiting,) = other.queue.stats(10).head
    beginning = {"id": waiting.job, "set": {"state": "RUNNING"}, "entry": waiting.entry, "fence": 1, "executor": "e"}
    for method, path in (("GET", waiting.job), ("DELETE", waiting.job), ("POST", f"{waiting.job}/stop")):
        assert other.as_(cookie)(method, path).status_code == 404
    (refused,) = other.as_(cookie)("POST", "job/bulk-edit", {"edits": [beginning]}).json["results"]
    assert refused["status"] == 404
    go.set()
    answer = adding.get(timeout=5)
    assert (answer.status_code, answer.json["resource-id"]) == (201, waiting.job)
    assert other.as_(cookie)("GET", waiting.job).json["state"] == "QUEUED"
    (begun,) = other.as_(cookie)("POST", "job/bulk-edit", {"edits": [beginning]}).json["results"]
    assert begun["job"]["state"] == "RUNNING"
    assert one.as_(cookie)("GET", waiting.job).json["executor"] == "e"


@pytest.mark.parametrize("overtaken_at", ["put", "write"])
def test_one_idempotency_key_on_both_servers_makes_one_job(pair: tuple[One, One], overtaken_at: str) -> None:
    """The slower one has looked for the key and found nothing."""
    one, other = pair
    cookie = one.log_in()
    arrived, go = Event(), Event()

    def hold(call: str) -> None:
        if call == overtaken_at:
            arrived.set()
            go.wait()

    one.store.before = one.queue.before = hold
    same = {"action": "a", "idempotencyKey": "k", "payload": {"n": 1}}
    slow = gevent.spawn(one.as_(cookie), "POST", "job/bulk-add", {"jobs": [same, {**same, "payload": {"n": 2}}]})
    assert arrived.wait(3)
    quick = other.as_(cookie)("POST", "job", same)
    assert quick.status_code == 201
    go.set()
    first, second = slow.get(timeout=5).json["results"]
    assert (first["status"], first["resource-id"]) == (201, quick.json["resource-id"])
    assert (second["status"], second["resource-id"]) == (409, quick.json["resource-id"])
    eventually(lambda: one.as_(cookie)("GET", "job").json["count"] == 1)
    stats = other.queue.stats(10)
    assert [waiting.job for waiting in stats.head] == [quick.json["resource-id"]]


# --- one of them dies


def test_clients_go_on_to_the_next_server(pair: tuple[One, One]) -> None:
    one, other = pair
    with Client(f"{one.url},{other.url}", "super", PASSWORD, timeout=(2, 10)) as client:
        id = client.add("job", {"action": "a"})
        one.kill()
        assert client.get(id)["state"] == "QUEUED"
        assert client.edit(id, {"progress": 5})["progress"] == 5
        client.operation(id, "stop")
        client.log_out()
    with Client(f"{one.url},{other.url}", "super", PASSWORD) as fresh:
        assert fresh.get(id)["state"] == "STOPPED"


WORKERS, EACH = 16, 8


def test_no_job_is_lost_or_doubled_when_a_server_dies_under_load(
    pair: tuple[One, One], stores: tuple[Store, Store]
) -> None:
    one, other = pair
    urls = [f"{one.url},{other.url}", f"{other.url},{one.url}"]
    clients = [Client(url, "super", PASSWORD, timeout=(2, 10), connections=WORKERS) for url in urls]
    ids: dict[str, str] = {}
    reached: dict[str, int] = {}
    answers: list[str] = []

    def work(number: int) -> None:
        client = clients[number % 2]
        for turn in range(EACH):
            name = f"{number}-{turn}"
            ids[name] = client.add("job", {"action": "a", "name": name})
            answers.append(name)
            for progress in (10, 20, 30):
                edited = patiently(partial(client.edit, ids[name], {"progress": progress}), 30)
                assert edited["progress"] == progress
                reached[name] = progress

    def die(call: str, items: Any = (), *_: Any) -> None:
        """Die with written jobs that no caller has an answer for."""
        if call == "write" and len(answers) > WORKERS * EACH // 3 and any(isinstance(item, Insert) for item in items):
            one.store.after = lambda *call: None
            one.kill()

    one.store.after = die
    working = [gevent.spawn(work, number) for number in range(WORKERS)]
    gevent.joinall(working, timeout=120, raise_error=True)
    assert all(each.successful() for each in working)

    for store in stores:
        store.search("job", Query(last=0))  # sees what was written through it, and lets others see it
    assert one.store.dead
    jobs = stores[1].search("job", Query()).documents
    assert sorted(job["name"] for job in jobs) == sorted(ids)
    assert {job["name"]: job["id"] for job in jobs} == ids
    assert {job["name"]: job["progress"] for job in jobs} == reached
    queued = [waiting.job for waiting in other.queue.stats(10_000).head]
    stored = {job["id"] for job in jobs}
    assert sorted(job for job in queued if job in stored) == sorted(stored), "each has one entry"
    orphans = [job for job in queued if job not in stored]
    assert len(orphans) <= WORKERS, "of adds that were under way: executors consume them"
    for client in clients:
        client.close()


def test_all_addresses_away_is_told_of_each(pair: tuple[One, One]) -> None:
    one, other = pair
    one.kill()
    other.kill()
    with Client(f"{one.url},{other.url}", "super", PASSWORD, patience=0) as client, pytest.raises(ServerAway) as away:
        client.add("job", {"action": "a"})
    for server in (one, other):
        assert server.url in str(away.value)


# --- live events


@pytest.mark.parametrize("kind", ["elasticsearch and zookeeper"])
def test_a_stream_shows_changes_that_another_server_has_made(pair: tuple[One, One]) -> None:
    for one in pair:
        one.queue.announce("servers", about(url=one.url))
    caller = Caller(pair[0].url)
    assert caller.login("super", PASSWORD).status_code == 201
    stream = OpenStream(caller)
    try:
        assert next(stream).name == "reset"
        ask = pair[1].as_(pair[1].log_in())
        id = ask("POST", "job", {"action": "a"}).json["resource-id"]
        assert stream.job(id)["state"] == "QUEUED"
        ask("POST", f"{id}/stop")
        assert stream.job(id, state="STOPPED")
    finally:
        stream.close()
