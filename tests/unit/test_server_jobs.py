"""Jobs between a real store and a queue that fails: the documents, entries and answers then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
from falcon import testing
from gevent.event import Event

from geventjob.coordination.base import Coordination, CoordinationAway, Session
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.accounts.users import new_user
from geventjob.server.app import application
from geventjob.server.http.errors import problem_of
from geventjob.server.jobs import adding
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.service import Jobs
from geventjob.server.resources import bulk
from geventjob.server.store.base import Insert, Query, StoreAway, StoreRefused
from geventjob.server.store.sqlite import SqliteStore

ADMIN = Caller("super", frozenset({"ADMIN", "USER", "ANON"}))


class Queue:
    """A queue in memory, each of whose calls can be held up or fail."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.held: set[str] = set()
        self.holder: dict[str, str] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.puts = 0
        self._last = 0
        self.session: Session | None = Session("s", 10.0, lease=float("inf"))
        self.away = False
        self.before: Callable[[str], None] = lambda call: None

    def _call(self, name: str) -> None:
        self.before(name)
        if self.away:
            raise CoordinationAway("no queue today")

    def put(self, items: Sequence[tuple[str, int]]) -> list[str]:
        self.puts += 1
        self._call("put")
        paths = [
            f"/job/entries/entry-{priority:03d}-{len(self.entries) + n:010d}" for n, (_, priority) in enumerate(items)
        ]
        self.entries.update(zip(paths, (job for job, _ in items), strict=True))
        return paths

    def remove(self, entries: Sequence[str]) -> list[bool]:
        self._call("remove")
        free = [entry not in self.held for entry in entries]
        for entry, is_free in zip(entries, free, strict=True):
            if is_free:
                self.entries.pop(entry, None)
        return free

    def discard(self, entries: Sequence[str]) -> None:
        self._call("discard")
        for entry in entries:
            self.entries.pop(entry, None)

    def holders(self, entries: Sequence[str]) -> list[str | None]:
        self._call("holders")
        return [self.holder.get(entry) for entry in entries]

    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        self._call("jobs")
        return [self.entries.get(entry) for entry in entries]

    def send(self, executor: str, message: dict[str, Any]) -> None:
        self._call("send")
        self.sent.append((executor, message))


class BadStore(SqliteStore):
    """A store that cannot write while `error` is set."""

    error: Exception | None = None

    def write(self, items: Any, seen: Any = None) -> Any:
        if isinstance(self.error, StoreRefused):
            return [self.error for _ in items]
        if self.error:
            raise self.error
        return super().write(items, seen)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BadStore]:
    made = BadStore(tmp_path / "store.db")
    made.start()
    yield made
    made.close()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def jobs(store: BadStore, queue: Queue) -> Jobs:
    return Jobs(store, cast(Coordination, queue))


@pytest.fixture
def http(store: BadStore, queue: Queue) -> testing.TestClient:
    """Return a client of the whole application, logged in."""
    sessions = Sessions(store)
    user = new_user("super", "no hash", "ADMIN USER")
    store.write([Insert(user)])
    _, token = sessions.open(user, "session-template/internal")
    app = application(store, cast(Coordination, queue), sessions, Passwords(), "0")
    return testing.TestClient(app, headers={"Cookie": f"com.sixsq.slipstream.cookie={token}"})


def add(jobs: Jobs, **body: Any) -> str:
    (id,) = jobs.add([{"action": "a", **body}], ADMIN)
    assert isinstance(id, str)
    return id


def one(outcomes: list[Any]) -> Any:
    (outcome,) = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def count(store: BadStore) -> int:
    return store.search("job", Query(last=0)).count


# --- the queue or the store unavailable


def test_without_a_queue_nothing_is_stored(http: testing.TestClient, store: BadStore, queue: Queue) -> None:
    queue.away = True
    for path, body in (("/api/job", {"action": "a"}), ("/api/job/bulk-add", {"jobs": [{"action": "a"}] * 3})):
        answer = http.simulate_post(path, json=body)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "queue" in answer.json["message"]
    assert count(store) == 0
    queue.away = False
    assert http.simulate_post("/api/job", json={"action": "a"}).status_code == 201


def test_health_tells_of_a_queue_that_takes_no_jobs(
    http: testing.TestClient, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "REFUSING", 0.0)

    def health(away: bool) -> str:
        queue.away = away
        http.simulate_post("/api/job", json={"action": "a"})
        return http.simulate_get("/healthz").text

    assert health(away=True) == "ok"
    assert health(away=True) == "the queue takes no jobs"
    monkeypatch.setattr(adding, "RECENT", 0.0)
    assert http.simulate_get("/healthz").text == "ok"
    monkeypatch.setattr(adding, "RECENT", 10.0)
    assert health(away=False) == "ok"
    assert health(away=True) == "ok"


def test_an_entry_goes_if_the_store_has_certainly_refused(
    http: testing.TestClient, store: BadStore, queue: Queue
) -> None:
    store.error = StoreRefused("disk full")
    answer = http.simulate_post("/api/job", json={"action": "a"})
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    (result,) = http.simulate_post("/api/job/bulk-add", json={"jobs": [{"action": "a"}]}).json["results"]
    assert result["status"] == 503
    assert queue.entries == {}


def test_an_entry_stays_if_the_job_may_be_stored(http: testing.TestClient, store: BadStore, queue: Queue) -> None:
    store.error = StoreAway("no answer")
    assert http.simulate_post("/api/job", json={"action": "a"}).status_code == 503
    assert len(queue.entries) == 1


def test_health_says_what_is_missing(http: testing.TestClient, queue: Queue) -> None:
    assert http.simulate_get("/healthz").text == "ok"
    assert queue.session is not None
    queue.session.end()
    answer = http.simulate_get("/healthz")
    assert answer.status_code == 503
    assert "queue" in answer.text


def test_an_unexpected_error_is_told_without_its_text(http: testing.TestClient, queue: Queue) -> None:
    def fail(call: str) -> None:
        raise ZeroDivisionError("a secret")

    queue.before = fail
    answer = http.simulate_post("/api/job", json={"action": "a"})
    assert answer.status_code == 500
    assert answer.json == {"status": 500, "message": "Unexpected exception thrown: ZeroDivisionError"}


# --- an executor that is quicker than the store


def until(condition: Callable[[], object]) -> None:
    with gevent.Timeout(3):
        while not condition():
            gevent.sleep(0.001)


def error_of(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    "call",
    [
        lambda jobs, id: jobs.get(id, ADMIN),
        lambda jobs, id: one(jobs.edit([change(id, progress=5)], ADMIN)),
        lambda jobs, id: jobs.stop(id, ADMIN),
        lambda jobs, id: jobs.delete(id, ADMIN),
    ],
)
def test_a_job_whose_add_is_under_way_is_waited_for(call: Any, jobs: Jobs, queue: Queue, store: BadStore) -> None:
    began, go, written = Event(), Event(), store.write

    def write(items: Any, seen: Any = None) -> Any:
        store.write = written  # type: ignore[method-assign]
        began.set()
        go.wait()
        return written(items, seen)

    store.write = write  # type: ignore[method-assign]
    adding = gevent.spawn(add, jobs)
    assert began.wait(3)
    (id,) = queue.entries.values()
    calling = gevent.spawn(call, jobs, id)
    until(lambda: jobs._adder._in_flight[id].linkcount())
    assert not calling.ready()
    go.set()
    assert adding.get(timeout=3) == id
    calling.get(timeout=3)


def test_who_waits_for_an_add_that_fails_gets_404(jobs: Jobs, queue: Queue) -> None:
    seen: list[str] = []
    go = Event()

    def put(items: Sequence[tuple[str, int]]) -> list[str]:
        seen.extend(job for job, _ in items)
        go.wait()
        raise CoordinationAway("gone")

    queue.put = put  # type: ignore[method-assign]
    adding = gevent.spawn(error_of, lambda: add(jobs))
    until(lambda: seen)
    getting = gevent.spawn(error_of, lambda: jobs.get(seen[0], ADMIN))
    until(lambda: jobs._adder._in_flight[seen[0]].linkcount())
    go.set()
    assert isinstance(adding.get(timeout=3), CoordinationAway)
    assert problem_of(getting.get(timeout=3)).status == 404


def test_a_client_that_goes_away_leaves_its_add_in(jobs: Jobs, queue: Queue, store: BadStore) -> None:
    go = Event()

    def hold(call: str) -> None:
        go.wait()

    queue.before = hold
    adding = gevent.spawn(add, jobs)
    until(lambda: queue.puts)
    adding.kill()
    go.set()
    until(lambda: count(store))
    (id,) = queue.entries.values()
    assert jobs.get(id, ADMIN)["state"] == "QUEUED"


def test_adds_at_once_share_a_transaction(jobs: Jobs, queue: Queue) -> None:
    def until_all_wait(call: str) -> None:
        while queue.puts == 1 and len(jobs._adder._in_flight) < 100:
            gevent.sleep(0)

    queue.before = until_all_wait  # the first put lasts until the last add has come
    gevent.joinall([gevent.spawn(add, jobs) for _ in range(100)], raise_error=True)
    assert len(queue.entries) == 100
    assert queue.puts <= 2


# --- keys


def test_keys_that_race_leave_one_job_and_one_entry(jobs: Jobs, queue: Queue, store: BadStore) -> None:
    adding = [gevent.spawn(add, jobs, idempotencyKey="k", payload={"x": 1}) for _ in range(20)]
    gevent.joinall(adding, raise_error=True)
    assert len({greenlet.value for greenlet in adding}) == 1
    assert count(store) == 1
    assert list(queue.entries.values()) == [adding[0].value]


def test_a_key_with_another_body_names_the_first(jobs: Jobs, queue: Queue) -> None:
    results = jobs.add([{"action": "a", "idempotencyKey": "k"}, {"action": "b", "idempotencyKey": "k"}], ADMIN)
    assert isinstance(results[0], str)
    assert isinstance(results[1], Exception)
    assert results[0] in str(results[1])
    assert len(queue.entries) == 1


# --- entries


def change(id: str, entry: str | None = None, fence: int = 1, **set: Any) -> Any:
    return JobEdit(id, Edit(set, (), Owner(entry, fence, "e") if entry else None))


def entry_of(jobs: Jobs, id: str) -> str:
    return str(jobs.get(id, ADMIN)["properties"]["zookeeper-path"])


def test_another_entry_counts_only_if_the_first_is_gone(jobs: Jobs, queue: Queue) -> None:
    id = add(jobs)
    first = entry_of(jobs, id)
    other = "/job/entries/entry-999-0000000777"
    (refused,) = jobs.edit([change(id, other, state="RUNNING")], ADMIN)
    assert getattr(refused, "reason", None) == "entry"
    del queue.entries[first]
    (late,) = jobs.edit([change(id, other, state="RUNNING")], ADMIN)
    assert getattr(late, "reason", None) == "entry", "the sender's own entry is gone too"
    queue.entries[other] = id
    job = one(jobs.edit([change(id, other, state="RUNNING")], ADMIN))
    assert (job["state"], job["properties"]["zookeeper-path"]) == ("RUNNING", other)


def test_a_look_that_fails_is_tried_again_by_the_client(http: testing.TestClient, queue: Queue) -> None:
    id = http.simulate_post("/api/job", json={"action": "a"}).json["resource-id"]
    queue.away = True
    edit = {"id": id, "set": {"state": "RUNNING"}, "entry": "/job/entries/entry-000-0000000777", "fence": 1}
    answer = http.simulate_post("/api/job/bulk-edit", json={"edits": [{**edit, "executor": "e"}]})
    assert [result["status"] for result in answer.json["results"]] == [503]


def test_delete_and_stop_leave_an_entry_that_is_held(jobs: Jobs, queue: Queue) -> None:
    ids = [add(jobs) for _ in range(3)]
    queue.held = {entry_of(jobs, ids[0])}
    for id in ids[:2]:
        jobs.delete(id, ADMIN)
    assert set(queue.entries.values()) == {ids[0], ids[2]}
    queue.held = {entry_of(jobs, ids[2])}
    assert jobs.stop(ids[2], ADMIN)["state"] == "STOPPED"
    assert set(queue.entries.values()) == {ids[0], ids[2]}


def test_a_job_is_deleted_though_its_entry_cannot_be(jobs: Jobs, queue: Queue, store: BadStore) -> None:
    id = add(jobs)
    queue.away = True
    jobs.delete(id, ADMIN)
    assert count(store) == 0


# --- stop


def test_many_stops_tell_the_executor_once(jobs: Jobs, queue: Queue) -> None:
    id = add(jobs)
    one(jobs.edit([change(id, entry_of(jobs, id), 7, state="RUNNING")], ADMIN))
    queue.holder[entry_of(jobs, id)] = "e"
    stops = [gevent.spawn(jobs.stop, id, ADMIN) for _ in range(9)]
    assert {stop.get()["state"] for stop in stops} == {"STOPPING"}
    assert jobs.stop(id, ADMIN)["state"] == "STOPPING"
    assert queue.sent == [("e", {"stop": id, "fence": 7})]
    (refused,) = jobs.edit([change(id, entry_of(jobs, id), 8, state="RUNNING")], ADMIN)
    assert getattr(refused, "reason", None) == "stopping"


def test_a_stop_that_does_not_reach_the_executor_is_to_be_tried_again(
    http: testing.TestClient, jobs: Jobs, queue: Queue
) -> None:
    id = add(jobs)
    one(jobs.edit([change(id, entry_of(jobs, id), state="RUNNING")], ADMIN))
    queue.holder[entry_of(jobs, id)] = "e"
    queue.away = True
    answer = http.simulate_post(f"/api/{id}/stop")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    queue.away = False
    assert http.simulate_post(f"/api/{id}/stop").json["state"] == "STOPPING"
    assert len(queue.sent) == 1


def test_an_executor_that_does_not_hold_the_entry_is_not_told(jobs: Jobs, queue: Queue) -> None:
    id = add(jobs)
    one(jobs.edit([change(id, entry_of(jobs, id), 7, state="RUNNING")], ADMIN))
    queue.holder[entry_of(jobs, id)] = "heir"
    assert jobs.stop(id, ADMIN)["state"] == "STOPPING"
    assert queue.sent == []


# --- beside executors of another engine


def unfenced(id: str, **set: Any) -> JobEdit:
    return JobEdit(id, Edit(set))


def test_an_unfenced_edit_lands_once_the_owner_has_let_go(jobs: Jobs, queue: Queue) -> None:
    id = add(jobs)
    entry = entry_of(jobs, id)
    one(jobs.edit([change(id, entry, 7, state="RUNNING")], ADMIN))
    queue.holder[entry] = "e"
    (refused,) = jobs.edit([unfenced(id, state="SUCCESS")], ADMIN)
    assert problem_of(cast(Exception, refused)).body()["reason"] == "fence"
    assert one(jobs.edit([unfenced(id, name="n")], ADMIN))["name"] == "n"
    queue.away = True
    (away,) = jobs.edit([unfenced(id, state="SUCCESS")], ADMIN)
    assert problem_of(cast(Exception, away)).status == 503
    queue.away = False
    queue.holder[entry] = "0b0b0b0b0b"
    assert one(jobs.edit([unfenced(id, state="SUCCESS")], ADMIN))["state"] == "SUCCESS"


def test_an_owner_that_comes_while_the_queue_is_asked_is_not_written_over(jobs: Jobs, queue: Queue) -> None:
    id = add(jobs)
    entry = entry_of(jobs, id)
    one(jobs.edit([change(id, entry, 7, state="RUNNING")], ADMIN))

    def come(call: str) -> None:
        if call == "holders" and entry not in queue.holder:
            queue.holder[entry] = "e"
            one(jobs.edit([change(id, entry, 8, state="RUNNING")], ADMIN))
            queue.holder[entry] = "no executor yet"
        elif call == "holders":
            queue.holder[entry] = "e"

    queue.before = come
    (refused,) = jobs.edit([unfenced(id, state="SUCCESS")], ADMIN)
    assert problem_of(cast(Exception, refused)).body()["reason"] == "fence"
    assert jobs.get(id, ADMIN)["state"] == "RUNNING"


def test_an_administrator_may_force_an_edit(http: testing.TestClient, jobs: Jobs, queue: Queue, caplog: Any) -> None:
    id = add(jobs)
    entry = entry_of(jobs, id)
    one(jobs.edit([change(id, entry, 7, state="RUNNING")], ADMIN))
    queue.holder[entry] = "e"
    assert http.simulate_put(f"/api/{id}", json={"state": "FAILED"}).status_code == 409
    assert http.simulate_put(f"/api/{id}?force=true", json={"state": "FAILED"}).json["state"] == "FAILED"
    assert f"{id}: super forces an edit of state" in caplog.text


@pytest.mark.parametrize("ending", [{"state": "SUCCESS"}, {"state": "FAILED", "statusMessage": "x"}])
def test_an_unfenced_end_takes_the_entry_out(jobs: Jobs, queue: Queue, ending: dict[str, Any]) -> None:
    free, held = add(jobs), add(jobs)
    entries = [entry_of(jobs, id) for id in (free, held)]
    queue.held = {entries[1]}
    for id in (free, held):
        assert one(jobs.edit([unfenced(id, **ending)], ADMIN))["state"] == ending["state"]
    assert list(queue.entries) == entries[1:]
    (refused,) = jobs.edit([unfenced(held, state="RUNNING")], ADMIN)
    assert problem_of(cast(Exception, refused)).body()["reason"] == "final"
    assert list(queue.entries) == []


def test_an_entry_of_another_job_is_left_alone(jobs: Jobs, queue: Queue) -> None:
    """A new queue counts its entries from 0 again."""
    id = add(jobs)
    entry = entry_of(jobs, id)
    one(jobs.edit([unfenced(id, state="SUCCESS")], ADMIN))
    queue.entries[entry] = "job/another"
    jobs.edit([unfenced(id, state="RUNNING")], ADMIN)
    assert queue.entries == {entry: "job/another"}


def test_a_bulk_edit_holds_some_jobs_at_once(
    http: testing.TestClient, jobs: Jobs, store: BadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "JOBS_PER_COMMIT", 2)
    ids = [add(jobs) for _ in range(5)]
    commits: list[list[str]] = []
    write = store.write

    def noted(items: Any, seen: Any = None) -> Any:
        commits.append([item.id for item in items])
        return write(items)

    monkeypatch.setattr(store, "write", noted)
    order = [0, 0, 1, 0, 2, 3, 3, 2, 4]
    edits = [{"id": ids[place], "set": {"progress": n}} for n, place in enumerate(order)]
    results = http.simulate_post("/api/job/bulk-edit", json={"edits": [*edits, {"id": "x"}]}).json["results"]
    assert [result["status"] for result in results] == [200] * 9 + [400]
    assert [result["job"]["progress"] for result in results[:9]] == list(range(9))
    assert [[ids.index(id) for id in commit] for commit in commits] == [[0, 0, 1, 0], [2, 3, 3, 2], [4]]
