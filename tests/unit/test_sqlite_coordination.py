"""Coordination over SQLite: facts of this implementation alone. The contract is in tests/contract."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import sys
import textwrap
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gevent
import pytest
from gevent import subprocess

from geventjob.clock import boottime
from geventjob.coordination import open_coordination
from geventjob.coordination.base import CoordinationAway, CoordinationError
from geventjob.coordination.sqlite import SqliteCoordination, database, processes, queue
from geventjob.coordination.sqlite.database import Need, Transaction
from geventjob.coordination.sqlite.processes import this_process
from tests.support.waiting import eventually

Join = Callable[..., SqliteCoordination]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "coordination.db")


@pytest.fixture
def join(path: str) -> Iterator[Join]:
    """Return a function that starts another member."""
    members: list[SqliteCoordination] = []

    def join(name: str = "", timeout: float = 10.0) -> SqliteCoordination:
        members.append(SqliteCoordination(path, name or f"member-{len(members)}", timeout))
        members[-1].start()
        return members[-1]

    yield join
    for member in members:
        member.close()


def execute(path: str, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """Execute SQL from outside, as the sqlite3 command does."""
    database = sqlite3.connect(path, timeout=5)
    with database:
        rows = database.execute(sql, parameters).fetchall()
    database.close()
    return rows


# --- the file


def test_to_make_one_does_nothing(path: str) -> None:
    SqliteCoordination(path, "a", 10)
    assert not os.path.exists(os.path.dirname(path))


def test_the_settings_say_where_it_is(tmp_path: Path) -> None:
    member = open_coordination(Namespace(zk_hosts=None, data_dir=str(tmp_path), session_timeout=10.0), "a")
    member.start()
    member.close()
    assert (tmp_path / "coordination.db").exists()


def test_a_closed_file_leaves_nothing_but_itself_and_its_lock(join: Join, path: str) -> None:
    join().close()
    assert sorted(os.listdir(os.path.dirname(path))) == ["coordination.db", "coordination.db.lock"]


def test_many_may_start_at_once_on_no_file(join: Join) -> None:
    starting = [gevent.spawn(join) for _ in range(8)]
    assert len(gevent.joinall(starting, raise_error=True)) == 8


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be one" * 100, b"SQLite format 3\0" + b"x" * 4080]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(join: Join, path: str, content: bytes) -> None:
    os.mkdir(os.path.dirname(path))
    Path(path).write_bytes(content)
    with pytest.raises(CoordinationError, match=r"coordination\.db: (file is not a database|database disk image)"):
        join()
    assert Path(path).read_bytes() == content


def test_the_database_of_another_program_is_refused(join: Join, path: str) -> None:
    os.mkdir(os.path.dirname(path))
    execute(path, "CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(CoordinationError, match=r"coordination\.db: .*not geventjob's coordination"):
        join()


def test_a_file_of_a_newer_format_is_refused(join: Join, path: str) -> None:
    join().close()
    execute(path, "PRAGMA user_version = 7")
    with pytest.raises(CoordinationError, match=r"newer geventjob \(format 7, this one knows 1\)"):
        join()


def test_a_folder_is_no_file(join: Join, path: str) -> None:
    os.makedirs(path)
    with pytest.raises(CoordinationError, match=r"coordination\.db: Is a directory"):
        join()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    member = SqliteCoordination(str(tmp_path / "file" / "coordination.db"), "a", 10)
    with pytest.raises(CoordinationError, match=r"file: (Not a directory|File exists)"):
        member.start()


def test_a_file_that_may_not_be_written_is_refused() -> None:
    """In a folder outside pytest's folder, which belongs to its user; and by another user, since root may write
    anything."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/coordination.db"
        member = SqliteCoordination(path, "a", 10)
        member.start()
        member.close()
        os.chmod(path, 0o444)
        if os.getuid() == 0:
            os.chown(folder, 65534, 65534)
        code = f"""
import os
import geventjob.patch
import gevent
from geventjob.coordination.base import CoordinationError
from geventjob.coordination.sqlite import SqliteCoordination
gevent.get_hub()  # it imports modules, which the other user may not read
os.setuid({os.getuid() or 65534})
try:
    SqliteCoordination({path!r}, "a", 10).start()
except CoordinationError as error:
    print(error)
"""
        process = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=20, text=True)
    assert process.stdout == f"{path}: Permission denied\n"


def test_a_locked_file_is_away_and_the_next_start_works(path: str, join: Join) -> None:
    join().close()
    member = SqliteCoordination(path, "a", 0.3)
    with locked(path), pytest.raises(CoordinationAway, match=r"\.lock: held by another process"):
        member.start()
    member.start()
    member.put([("job/a", 1)])
    assert [claim.job for claim in member.take(1, timeout=1)] == ["job/a"]
    member.close()


def test_a_new_file_does_not_repeat_the_names_of_a_lost_one(path: str, join: Join) -> None:
    """Jobs still name their old entries, and must not take the entries of others for their own."""
    names: list[str] = []
    for _ in range(2):
        member = join()
        names += member.put([("job/a", 1)] * 1000)
        member.close()
        os.unlink(path)
    assert len(set(names)) == 2000


# --- the thread and the lock


class locked:
    """Lock the file as another process does in a transaction."""

    def __init__(self, path: str) -> None:
        self._lock = os.open(path + ".lock", os.O_RDWR)

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def test_the_hub_runs_on_while_the_file_is_locked(join: Join, path: str) -> None:
    member = join()
    gaps = []
    with locked(path):
        putting = gevent.spawn(member.put, [("job/a", 1)])
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            began = time.monotonic()
            gevent.sleep(0.001)
            gaps.append(time.monotonic() - began)
        assert not putting.ready()
    assert len(putting.get(timeout=5)) == 1
    assert max(gaps) < 0.25


def test_a_file_locked_for_longer_than_a_session_ends_it_and_a_new_one_works(join: Join, path: str) -> None:
    """A process that is stopped in a transaction has the same effect: all wait, and nothing goes wrong."""
    member = join(timeout=1.0)
    lost: list[object] = []
    member.on_lost = lost.append
    member.put([("job/a", 1)])
    claims = member.take(1)
    with locked(path):
        eventually(lambda: lost, within=5)
        with pytest.raises(CoordinationAway, match=f"no answer within 1 s; its lock is held by process {os.getpid()}"):
            member.put([("job/b", 1)])
    eventually(lambda: member.session is not None and not member.session.over)
    assert lost == [claims]
    assert [claim.job for claim in member.take(1)] == ["job/a"]


def test_what_a_session_held_is_free_when_it_is_over_for_its_owner(join: Join) -> None:
    """The lease ends first. Nobody waits for the rest of the session's time in the file."""
    member, other = join(timeout=60), join(timeout=60)
    member.put([("job/a", 1)])
    (claim,) = member.take(1)
    claim.session.end()
    join()  # the arrival makes all members read
    assert [claim.job for claim in other.take(1, timeout=2)] == ["job/a"]


def test_a_bad_operation_fails_alone(join: Join) -> None:
    member = join()

    def bad(tx: Transaction) -> None:
        queue.put(tx, [("job/undone", 1)])
        raise ZeroDivisionError

    answers = [member._database.submit(partial(queue.put, items=[(f"job/{i}", 1)])) for i in range(3)]
    failed = member._database.submit(bad)
    wrong = member._database.submit(lambda tx: tx.change("INSERT INTO nowhere VALUES (1)"))
    answers.append(member._database.submit(partial(queue.put, items=[("job/3", 1)])))
    gevent.joinall([gevent.spawn(answer.get) for answer in answers], raise_error=True)
    with pytest.raises(ZeroDivisionError):
        failed.get()
    with pytest.raises(CoordinationAway, match=r"coordination\.db: no such table"):
        wrong.get()
    assert [claim.job for claim in member.take(9)] == [f"job/{i}" for i in range(4)]


def test_a_full_disk_is_told_in_words_and_harms_nothing(join: Join) -> None:
    member = join()
    member.put([("job/a", 1)])
    member._database.call(lambda tx: tx.value("PRAGMA max_page_count = 1"))  # no page more than now
    with pytest.raises(CoordinationAway, match="database or disk is full"):
        member.put([("job/" + "x" * 1000, 1)] * 1000)
    assert [claim.job for claim in member.take(5)] == ["job/a"]


def test_what_must_outlive_the_power_is_synced_and_nothing_else(join: Join) -> None:
    member = join()

    def ask(tx: Transaction) -> int:
        return int(tx.value("PRAGMA synchronous"))

    assert [member._database.call(ask, need) for need in (Need.SYNC, Need.WRITE, Need.SYNC)] == [2, 1, 2]


def test_what_gathers_is_one_transaction(join: Join, path: str) -> None:
    member = join()
    with locked(path):
        first = gevent.spawn(member.put, [("job/a", 1)])
        gevent.sleep(0.05)
        more = [gevent.spawn(member.put, [("job/b", 1)]) for _ in range(50)]
        gevent.sleep(0.05)
        transactions = []
        commit = member._database._commit
        member._database._commit = lambda batch: transactions.append(len(batch)) or commit(batch)  # type: ignore
    gevent.joinall([first, *more], raise_error=True)
    assert max(transactions) >= 50


def test_after_close_calls_are_refused(join: Join) -> None:
    member = join()
    member.close()
    with pytest.raises(CoordinationAway, match=r"coordination\.db: closed"):
        member.put([("job/a", 1)])
    assert member.take(1) == []


# --- names, order, fences


@pytest.mark.parametrize("turn", [2**31, 2**32, 2**33 + 2**31])
def test_the_order_holds_where_the_numbers_of_names_wrap(join: Join, path: str, turn: int) -> None:
    """Sequences have 64 bits; a name shows 32 bits and means the nearest sequence."""
    member = join()
    member.put([("job/first", 5)])
    member.consume(member.take(1))
    execute(path, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'entry'", turn - 3)
    member.put([("job/old", 5)])
    paths = member.put([(f"job/{i}", 5) for i in range(6)])
    assert len(set(paths)) == 6
    assert member.standing(paths) == [True] * 6
    assert member.remove(paths[1:2]) == [True]
    claims = member.take(3, exclude=paths[3:4])
    assert [claim.job for claim in claims] == ["job/old", "job/0", "job/2"]
    member.consume(claims)
    assert [claim.job for claim in member.take(9)] == ["job/3", "job/4", "job/5"]
    assert member.standing(paths) == [False] * 3 + [True] * 3


def test_fences_go_on_growing_though_the_power_took_the_last_takes(join: Join, path: str) -> None:
    member = join()
    member.put([("job/a", 1)])
    (before,) = member.take(1)
    member.close()
    execute(path, "UPDATE fence SET last = last - 1, boot = 'the one before'")
    (after,) = join().take(1)
    assert after.entry == before.entry
    assert after.fence > before.fence + 2**31


def test_no_entry_gets_the_name_of_a_put_that_the_power_took(join: Join, path: str) -> None:
    member = join()
    paths = member.put([("job/kept", 1), ("job/undone", 1)])
    member.close()
    execute(path, "DELETE FROM entry WHERE job = 'job/undone'")
    execute(path, "UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'entry'")
    execute(path, "UPDATE fence SET boot = 'the one before'")
    member = join()
    (new,) = member.put([("job/new", 1)])
    assert new not in paths
    assert member.jobs([*paths, new]) == ["job/kept", None, "job/new"]


def _steps(member: SqliteCoordination, operation: Callable[[Transaction], object]) -> int:
    """Count the instructions of SQLite's machine that an operation takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counted(tx: Transaction) -> int:
        tx._connection.set_progress_handler(count, 1)
        operation(tx)
        tx._connection.set_progress_handler(None, 1)
        return steps

    return member._database.call(counted)


def test_a_take_costs_the_same_however_deep_the_queue_is(join: Join) -> None:
    member = join()
    session = member.session
    assert session is not None
    take = partial(queue.take, session=session, limit=10, exclude=(), waits=True)
    costs = []
    for depth in (100, 10_000):
        member.put([("job/a", n % 1000) for n in range(depth)])
        costs.append(_steps(member, take))
    assert 10 < costs[1] <= 1.1 * costs[0]


# --- waking


def _attempts(path: str) -> int:
    """Return the number of takes so far, including those without a result."""
    return int(str(execute(path, "SELECT last FROM fence")[0][0]))


def _settled(path: str) -> int:
    """Return the number of takes once there have been no more for a while."""
    attempts = -1
    while attempts != (now := _attempts(path)):
        attempts = now
        gevent.sleep(0.3)
    return attempts


def test_one_entry_wakes_one_of_those_who_wait(join: Join, path: str) -> None:
    members = [join(timeout=600) for _ in range(6)]  # heartbeats too rare to make members read
    takes = [gevent.spawn(member.take, 1) for member in members[1:]]
    eventually(lambda: execute(path, "SELECT count(*) FROM session WHERE wants > 0") == [(5,)])
    before = _settled(path)
    members[0].put([("job/a", 1)])
    eventually(lambda: sum(take.ready() for take in takes) == 1)
    assert _settled(path) == before + 1


def test_one_who_is_woken_and_goes_away_has_another_woken(join: Join, path: str) -> None:
    putter, first, second = (join(timeout=60) for _ in range(3))
    gone = gevent.spawn(first.take, 1)
    eventually(lambda: execute(path, "SELECT count(*) FROM session WHERE wants > 0") == [(1,)])
    take = gevent.spawn(second.take, 1)
    eventually(lambda: execute(path, "SELECT count(*) FROM session WHERE wants > 0") == [(2,)])
    first._bell._watcher.stop()  # the first to wait is rung, and does not notice
    putter.put([("job/a", 1)])
    gone.kill()
    assert [claim.job for claim in take.get(timeout=10)] == ["job/a"]


def test_a_bell_that_nobody_answers_for_a_while_does_no_harm(join: Join) -> None:
    """The pipe is full: 65,536 messages do not fit, and need not fit."""
    member = join()
    got: list[object] = []
    member.listen(lambda message: got.append(message) or gevent.sleep(0))
    bell = member._bell
    descriptor = os.open(bell._path, os.O_WRONLY | os.O_NONBLOCK)
    assert os.write(descriptor, b"q" * 2**20) < 2**20
    os.close(descriptor)
    other = join()
    other.send(member.name, {"n": 1})
    eventually(lambda: got == [{"n": 1}])


# --- processes


PREAMBLE = """
import geventjob.patch
import os, gevent
from gevent.monkey import get_original
from geventjob.coordination.base import CoordinationAway
from geventjob.coordination.sqlite import SqliteCoordination
sleep = get_original("time", "sleep")
m = SqliteCoordination({path!r}, "process", 30.0)
m.start()
"""


@pytest.fixture
def run(path: str) -> Iterator[Callable[[str], subprocess.Popen[Any]]]:
    """Start a process with a member `m` that runs this code."""
    processes: list[subprocess.Popen[Any]] = []

    def run(code: str) -> subprocess.Popen[Any]:
        program = PREAMBLE.format(path=path) + textwrap.dedent(code)
        processes.append(subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


Run = Callable[[str], subprocess.Popen[Any]]


def test_the_bells_of_the_dead_are_swept_away(join: Join, path: str, run: Run) -> None:
    dead = run("print(m._bell.name, flush=True); gevent.sleep(60)")
    bell = f"{path}.bell-{dead.stdout.readline().decode().strip()}"
    assert os.path.exists(bell)
    dead.kill()
    dead.wait()
    join()
    assert not os.path.exists(bell)


def test_a_part_that_fails_unexpectedly_ends_the_process(run: Run) -> None:
    process = run(
        """
        m._keeper._pause = lambda: 1 / 0
        m._bell.wake(b"s")
        gevent.sleep(20)
        """
    )
    assert process.wait(timeout=10) == 1


def test_a_fork_keeps_neither_lock_nor_claims_of_its_dead_parent(join: Join, path: str, run: Run) -> None:
    member = join(timeout=30)
    member.put([("job/a", 1)])
    process = run(
        """
        assert m.take(1, timeout=5)
        m._database.submit(lambda tx: sleep(60))    # a transaction that has the lock
        gevent.sleep(0.5)
        child = os.fork()
        if not child:
            sleep(60)
        print(child, flush=True)
        gevent.sleep(60)
        """
    )
    child = int(process.stdout.readline())
    try:
        with closing(sqlite3.connect(path)) as beside:  # our own thread may wait for the lock
            assert beside.execute("SELECT count(*) FROM entry WHERE owner IS NOT NULL").fetchone() == (1,)
        process.kill()
        assert [claim.job for claim in member.take(1, timeout=1)] == ["job/a"]
        os.kill(child, 0)  # the child lives
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_fork_is_no_member(join: Join, path: str, run: Run) -> None:
    member = join()
    member.put([("job/a", 1), ("job/b", 1)])
    process = run(
        """
        def note(lost): print("the parent has lost", lost, flush=True)
        m.on_lost = note
        (claim,) = m.take(1, timeout=5)
        held = m.lead("e")
        m.listen(print)
        if not os.fork():
            assert claim.lost and not held.held and m.session.over
            m.consume([claim])
            try:
                m.put([("job/c", 1)])
            except CoordinationAway:
                gevent.sleep(0.5)
                m.close()
                print("child", flush=True)
            os._exit(0)
        os.wait()
        m.consume([claim])
        print("parent", claim.lost, held.held, len(m.take(1, timeout=5)), flush=True)
        """
    )
    assert process.communicate(timeout=20)[0].decode().splitlines() == ["child", "parent False True 1"]
    assert member.stats().entries == 1


def test_a_child_program_inherits_nothing(run: Run) -> None:
    process = run(
        """
        import subprocess
        subprocess.run("ls -l /proc/self/fd | grep coordination; echo done", shell=True, close_fds=False)
        """
    )
    assert process.communicate(timeout=20)[0] == b"done\n"


def _strangers_session(path: str, **changes: object) -> int:
    """Insert a session with a taken entry, as if a process had joined and never come back. Return its number."""
    process = this_process()._replace(**changes)  # type: ignore
    (number,) = execute(
        path,
        "INSERT INTO session (name, boot, namespace, pid, started, bell, expires) VALUES ('x', ?, ?, ?, ?, '-', ?) "
        "RETURNING id",
        *(*process, boottime() + 60),
    )[0]
    execute(path, "INSERT INTO entry (priority, job, put_at, owner) VALUES (1, 'job/x', 0, ?)", number)
    return int(str(number))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[Any]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(
    join: Join, path: str, sleeper: subprocess.Popen[Any]
) -> None:
    member = join(timeout=30)
    _strangers_session(path, pid=sleeper.pid, started=1)
    join()  # the arrival makes all members read
    assert len(member.take(1, timeout=1)) == 1


def test_a_session_from_before_the_boot_is_over(join: Join, path: str) -> None:
    join().close()
    _strangers_session(path, boot="the one before")
    assert len(join().take(1, timeout=0)) == 1


def test_another_boot_id_proves_nothing_while_the_process_lives(
    join: Join, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two sandboxes of one machine show two ids. Each of them begins and beats, and both sessions live on."""
    members = []
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(f"{name}\n")
        monkeypatch.setattr(processes, "BOOT_ID", str(tmp_path / name) if name != "three" else "/proc/none")
        members.append(join(timeout=1.0))
    sessions = [member.session for member in members]
    assert len(set(execute(path, "SELECT boot FROM session"))) == 3
    members[0].put([("job/a", 1)])
    assert len(members[0].take(1, timeout=1)) == 1
    until = boottime() + 1.5
    eventually(lambda: boottime() > until)
    assert [member.session for member in members] == sessions
    assert not any(session is None or session.over for session in sessions)


def test_a_process_of_another_boot_that_has_died_is_seen_when_one_begins(join: Join, path: str, run: Run) -> None:
    """The process id proves nothing here: it is of another namespace, as in a container."""
    process = run("print(m.put([('job/a', 1)]), len(m.take(1)), flush=True); gevent.sleep(60)")
    assert process.stdout.readline()
    execute(path, "UPDATE session SET boot = 'another', namespace = 'pid:[1]'")
    assert join().take(1, timeout=0.2) == []
    process.kill()
    process.wait()
    assert len(join().take(1, timeout=1)) == 1


def test_the_holder_of_the_lock_is_not_named_where_that_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").touch()
    monkeypatch.setattr(os.path, "exists", lambda name: name != "/proc/locks" and os.access(name, os.F_OK))
    assert database._holder(str(tmp_path / "lock")) == "another process"


def test_nothing_is_concluded_from_a_number_in_another_namespace(join: Join, path: str) -> None:
    """The id is that of a process in a container: no such process exists here, and in the container it may live."""
    member = join(timeout=0.5)
    number = _strangers_session(path, namespace="pid:[1]", pid=2**22 - 1)
    assert member.take(1, timeout=0.3) == []
    execute(path, "UPDATE session SET expires = ? WHERE id = ?", boottime(), number)
    assert len(member.take(1, timeout=1)) == 1


def test_without_pidfds_the_dead_are_seen_by_their_silence(
    join: Join, path: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse)
    member = join(timeout=1.0)
    process = run("print(m.put([('job/a', 1)]), len(m.take(1)), flush=True); gevent.sleep(60)")
    assert process.stdout.readline()
    process.kill()
    process.wait()
    assert member.take(1, timeout=0.5) == []
    execute(path, "UPDATE session SET expires = ? WHERE name = 'process'", boottime() + 0.5)
    assert len(member.take(1, timeout=2)) == 1


# --- inbox


def test_an_inbox_without_its_executor_for_a_day_is_deleted(join: Join, path: str) -> None:
    member = join(timeout=1.0)
    for executor in ("gone", "lately", member.name):
        member.send(executor, {"to": executor})
    execute(path, "UPDATE message SET sent = sent - 90000 WHERE executor <> 'lately'")
    eventually(lambda: len(execute(path, "SELECT 1 FROM message")) < 3, within=5)
    assert {name for (name,) in execute(path, "SELECT executor FROM message")} == {"lately", member.name}


def test_junk_in_an_inbox_does_not_stop_it(join: Join, path: str) -> None:
    member = join()
    for text in ("no json", "[1]", "null", '{"n": 1}'):
        execute(path, "INSERT INTO message (executor, message, sent) VALUES (?, ?, ?)", member.name, text, time.time())
    got: list[object] = []
    member.listen(got.append)
    eventually(lambda: got == [{"n": 1}])
    eventually(lambda: execute(path, "SELECT count(*) FROM message") == [(0,)])
