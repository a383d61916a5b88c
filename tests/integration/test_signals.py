"""Signals of the commands (docs/operations.md, "Signals")."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.errors import Forbidden
from tests.support import elasticsearch
from tests.support.elastic_stores import new_prefix, remove_indexes
from tests.support.fleet import PASSWORD, Fleet, Process, ended, fleet, until
from tests.support.http_proxy import HttpProxy
from tests.support.zookeeper import Ensemble, running

ACTION = """
import logging, os, time
from geventjob import action

@action("{name}", timeout=60)
def run(job):
    logging.getLogger("run").debug("begins")
    open({notes!r}, "a").write("{version} begins\\n")
    while job.payload.get("wait") and not os.path.exists(job.payload["wait"]):
        time.sleep(0.02)
    job.set_status_message("{version}")
"""
DISTRIBUTOR = """
from geventjob import Distributor, distributor

@distributor("fast")
class Fast(Distributor):
    interval = {interval}
    unless_pending = False

    def jobs(self):
        yield {{"action": "{action}"}}
"""
SLOW_TO_LOAD = """
import os, time

open({begun!r}, "w").close()
while not os.path.exists({go!r}):
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.server()
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for actions or distributors."""
    made = tmp_path / "plugins"
    made.mkdir()
    return made


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    made = tmp_path / "command.ini"
    made.touch()
    return made


def hung_up(process: Process, *words: str) -> None:
    """Send SIGHUP, and wait for new lines with these words."""
    before = len(process.log)
    process.signal(signal.SIGHUP)
    until(lambda: all(word in process.log[before:] for word in words) or not process.running)
    assert process.running, process.log


def message(client: Client, job: str) -> str:
    found = ended(client, [job])[job]
    assert found["state"] == "SUCCESS", found
    return str(found["statusMessage"])


def test_a_hangup_brings_new_and_changed_actions_and_limits(
    engine: Fleet, tmp_path: Path, folder: Path, ini: Path
) -> None:
    notes, end = tmp_path / "notes", tmp_path / "end"

    def write(name: str, version: str) -> None:
        (folder / f"{name}.py").write_text(ACTION.format(name=name, version=version, notes=str(notes)))

    write("one", "first")
    executor = engine.executor("hung-up", "-c", str(ini), actions_dir=folder)
    client = engine.client()
    since = next(node["since"] for node in client.nodes() if node["name"] == "hung-up")
    running = client.add("job", {"action": "one", "payload": {"wait": str(end)}})
    until(lambda: notes.exists() and "first begins" in notes.read_text())
    write("one", "second")
    write("two", "new")
    ini.write_text("[timeouts]\nstill = 1\n")
    write("still", "third")
    hung_up(executor, "changed: [timeouts]", "actions were read again")
    assert message(client, client.add("job", {"action": "one"})) == "second"
    assert message(client, client.add("job", {"action": "two"})) == "new"
    late = client.add("job", {"action": "still", "payload": {"wait": str(end)}})
    assert ended(client, [late])[late]["statusMessage"] == "timed out after 1 s"
    (node,) = [node for node in client.nodes() if node["name"] == "hung-up"]
    assert {"one", "two", "still"} <= set(node["actions"])
    assert node["since"] == since

    (folder / "one.py").write_text("this is no Python")
    (folder / "two.py").unlink()
    hung_up(executor, "one.py does not import", "in their old code, since their files do not import: one\n")
    (node,) = [node for node in client.nodes() if node["name"] == "hung-up"]
    assert set(node["actions"]) & {"one", "two", "still"} == {"one", "still"}
    assert list(node["leftOut"]) == [str(folder / "one.py")]
    assert message(client, client.add("job", {"action": "one"})) == "second"
    end.touch()
    assert message(client, running) == "first"
    assert executor.stop() == 0


def test_options_that_are_wrong_change_nothing(engine: Fleet, tmp_path: Path, folder: Path, ini: Path) -> None:
    executor = engine.executor("careful", "-c", str(ini), actions_dir=folder)
    (folder / "new.py").write_text(ACTION.format(name="new", version="new", notes=str(tmp_path / "notes")))
    ini.write_text("log-level = debug\nthread = 8\n")
    hung_up(executor, f"SIGHUP: nothing changes: {ini}: unknown option 'thread'")
    ini.write_text("log-level = debug\nunknown-grace = soon\n")
    hung_up(executor, "SIGHUP: nothing changes: --unknown-grace: expected seconds", f"(in {ini})")
    ini.write_text("log-level = debug\n")
    (folder / "twice.py").write_text(ACTION.format(name="new", version="twice", notes=str(tmp_path / "notes")))
    hung_up(executor, "SIGHUP: nothing changes: two are named 'new'")
    assert " DEBUG " not in executor.log
    assert "Traceback" not in executor.log
    (node,) = [node for node in engine.client().nodes() if node["name"] == "careful"]
    assert "new" not in node["actions"]
    (folder / "twice.py").unlink()
    hung_up(executor, "changed: --log-level", "actions were read again")
    engine.client().add("job", {"action": "new"})
    until(lambda: " DEBUG " in executor.log)
    assert executor.stop() == 0


def test_options_that_need_a_restart_are_named(engine: Fleet, ini: Path) -> None:
    executor = engine.executor("constant", "-c", str(ini))
    ini.write_text("session-timeout = 7\nthreads = 8\nshutdown-timeout = 1\nmax-timeout = 5\n")
    hung_up(
        executor, "changed: --shutdown-timeout, --max-timeout\n", "restart to change --session-timeout, --threads\n"
    )
    hung_up(executor, "changed: none\n", "restart to change --session-timeout, --threads\n")
    (node,) = [node for node in engine.client().nodes() if node["name"] == "constant"]
    assert node["slots"] == 100
    assert executor.stop() == 0


def test_the_shutdown_timeout_is_renewed(engine: Fleet, tmp_path: Path, folder: Path, ini: Path) -> None:
    notes = tmp_path / "notes"
    (folder / "long.py").write_text(ACTION.format(name="long", version="long", notes=str(notes)))
    executor = engine.executor("patient", "-c", str(ini), actions_dir=folder)
    client = engine.client()
    job = client.add("job", {"action": "long", "payload": {"wait": str(tmp_path / "never")}})
    until(notes.exists)
    ini.write_text("shutdown-timeout = 0.1\n")
    hung_up(executor, "changed: --shutdown-timeout")
    assert executor.stop() == 0
    assert "waiting 0.1 s for them" in executor.log
    assert client.get(job)["state"] == "QUEUED"
    client.operation(job, "stop")


def test_a_new_password_is_used(engine: Fleet, tmp_path: Path, folder: Path) -> None:
    (folder / "own.py").write_text(ACTION.format(name="own", version="own", notes=str(tmp_path / "notes")))
    admin, file = engine.client(), tmp_path / "password"
    admin.add("user", {"username": "worker", "password": "worker's first", "roles": "USER EXECUTOR"})
    file.write_text("worker's first")
    file.chmod(0o600)
    login = ["--ss-user", "worker", "--ss-pass-file", str(file)]
    executor = engine.executor("worker", *login, actions_dir=folder)
    admin.edit("user/worker", {"password": "worker's second"})
    file.write_text("worker's second")
    hung_up(executor, "changed: --ss-pass")
    assert message(admin, admin.add("job", {"action": "own"})) == "own"
    assert "second" not in executor.log
    assert executor.stop() == 0


def test_no_job_is_lost_while_hangups_come(engine: Fleet, tmp_path: Path, folder: Path) -> None:
    """Actions are read again at any moment of a job: take, start, run, end."""
    notes = tmp_path / "notes"
    (folder / "quick.py").write_text(ACTION.format(name="quick", version="v", notes=str(notes)))
    executor = engine.executor("often", "--threads", "20", actions_dir=folder)
    client = engine.client()
    ids = [str(id) for id in client.bulk_add([{"action": "quick"} for _ in range(500)])]

    def all_ended() -> bool:
        executor.signal(signal.SIGHUP)
        return bool(client.search("job", filter="action='quick' and state='QUEUED'", last=0)["count"] == 0)

    until(all_ended, seconds=60, every=0.02)
    found = ended(client, ids)
    assert Counter((job["state"], job["attempts"]) for job in found.values()) == {("SUCCESS", 1): 500}
    assert notes.read_text().count("begins") == 500
    assert executor.log.count("actions were read again") > 5
    assert executor.stop() == 0


def test_new_actions_wait_until_zookeeper_knows_them(tmp_path: Path, folder: Path, ini: Path) -> None:
    """Limits count at once; jobs go on in the actions that were announced."""
    notes = str(tmp_path / "notes")
    with running(Ensemble()) as ensemble, fleet(tmp_path, ensemble.hosts) as engine:
        engine.server()
        executor = engine.executor("patient", "-c", str(ini), "--session-timeout", "5", actions_dir=folder)
        (folder / "new.py").write_text(ACTION.format(name="new", version="new", notes=notes))
        ini.write_text("log-level = debug\n")
        (server,) = ensemble.servers
        server.freeze()
        hung_up(executor, "changed: --log-level")
        until(lambda: "coordination is away" in executor.log)
        assert "actions were read again" not in executor.log
        server.thaw()
        until(lambda: "actions were read again" in executor.log)
        (node,) = [node for node in engine.client().nodes() if node["name"] == "patient"]
        assert "new" in node["actions"]
        assert message(engine.client(), engine.client().add("job", {"action": "new"})) == "new"
        assert executor.stop() == 0


def test_signals_during_the_start_are_kept(engine: Fleet, tmp_path: Path, folder: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    (folder / "slow.py").write_text(SLOW_TO_LOAD.format(begun=str(begun), go=str(go)))
    executor = engine.start_executor("early", actions_dir=folder)
    until(begun.exists)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        executor.signal(number)
    until(lambda: "slow.py" in executor.log)  # in the dump, which comes while a file is loaded
    go.touch()
    engine.await_nodes("early")
    until(lambda: all(line in executor.log for line in ("actions were read again", "the log level is debug now")))
    assert executor.stop() == 0


def test_a_hangup_brings_rights_to_a_server(tmp_path: Path, ini: Path) -> None:
    with fleet(tmp_path) as engine:
        server = engine.server("-c", str(ini))
        engine.client().add("user", {"username": "alice", "password": PASSWORD, "roles": "USER SUBMITTER"})
        alice = Client(engine.url, "alice", PASSWORD)
        with pytest.raises(Forbidden, match=r"\[rights\]"):
            alice.add("job", {"action": "report_daily"})
        ini.write_text("reconcile-interval = 7\n[rights]\nalice = report_*\n")
        hung_up(server, "changed: [rights]", "restart to change --reconcile-interval")
        alice.add("job", {"action": "report_daily"})
        ini.write_text("[rights]\nalice = \n[rights]\n")
        hung_up(server, f"SIGHUP: nothing changes: {ini}: line 3: this section is given twice")
        alice.add("job", {"action": "report_daily"})
        assert server.stop() == 0


def test_a_hangup_brings_credentials_to_a_server(tmp_path: Path) -> None:
    proxy = HttpProxy(int(elasticsearch.shared().rpartition(":")[2]))
    key, prefix = tmp_path / "key", new_prefix()
    key.write_text("bXk6Zmlyc3Q=")
    key.chmod(0o600)
    store = ["--es-hosts-list", proxy.url, "--es-api-key-file", str(key), "--es-index-prefix", prefix]
    with contextlib.closing(proxy), fleet(tmp_path) as engine:
        server = engine.server(*store)
        assert b"ApiKey bXk6Zmlyc3Q=" in proxy.requests[0]
        key.write_text("bXk6c2Vjb25k")
        hung_up(server, "changed: --es-api-key-file")
        until(lambda: proxy.count(b"ApiKey bXk6c2Vjb25k"))  # an earlier request may be under way
        before = len(proxy.requests)
        engine.client().add("job", {"action": "dummy_test_action"})
        requests = proxy.requests[before:]
        assert requests
        assert all(b"ApiKey bXk6c2Vjb25k" in request for request in requests)
        assert "bXk6" not in server.log
        assert server.stop() == 0
    remove_indexes(prefix)


def test_a_hangup_brings_new_code_to_a_leader(engine: Fleet, folder: Path) -> None:
    client, file = engine.client(), folder / "fast.py"

    def added(action: str) -> int:
        return int(client.search("job", filter=f"action='{action}'", last=0)["count"])

    def write(action: str, interval: str = "0.2") -> None:
        file.write_text(DISTRIBUTOR.format(action=action, interval=interval))

    write("early_bird")
    distributor = engine.distributor("fast-1", "--distributors-dir", str(folder), "fast")
    until(lambda: added("early_bird") >= 2)
    write("late_bird", "0.25")
    hung_up(distributor, "distributors were read again: fast")
    until(lambda: added("late_bird") >= 2)
    before = added("early_bird")
    until(lambda: added("late_bird") >= 5)
    assert added("early_bird") == before

    file.write_text("this is no Python")
    hung_up(distributor, "fast.py does not import", "distributors were read again")
    until(lambda: [node["leftOut"] for node in client.nodes() if node["name"] == "fast-1"] != [{}])
    write("wrong", "'often'")
    hung_up(distributor, "fast goes on in its old code", "`interval`")
    so_far = added("late_bird")
    until(lambda: added("late_bird") >= so_far + 3)
    write("last_bird", "0.3")
    hung_up(distributor, "distributors were read again")
    until(lambda: added("last_bird") >= 2)
    assert distributor.stop() == 0


@pytest.mark.parametrize("command", ["server", "executor", "distributor"])
def test_debug_lines_are_switched_on_and_off_whatever_a_hangup_brings(engine: Fleet, command: str) -> None:
    start = {
        "server": lambda: engine.processes[0],
        "executor": lambda: engine.executor("verbose"),
        "distributor": lambda: engine.distributor("verbose-too", "dummy_test_action"),
    }
    process = start[command]()
    until(lambda: "dummy_test_action" in process.log or command != "distributor")
    process.signal(signal.SIGUSR2)
    until(lambda: "the log level is debug now" in process.log)
    hung_up(process, "changed: none")
    process.signal(signal.SIGUSR2)
    until(lambda: "the log level is info now" in process.log)
    if command != "server":
        assert process.stop() == 0


@pytest.mark.parametrize("command", ["server", "executor", "distributor"])
def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path, command: str) -> None:
    log, moved = tmp_path / "log" / f"{command}.log", tmp_path / "log" / "moved"
    with fleet(tmp_path) as engine:
        options = ["--log-dir", str(log.parent)]
        process = engine.server(*(options if command == "server" else []))
        if command == "executor":
            process = engine.executor("logs", *options)
        elif command == "distributor":
            process = engine.distributor("logs", *options, "dummy_test_action", "jobs_cleanup")
            engine.await_nodes("logs")
        log.rename(moved)
        process.signal(signal.SIGHUP)
        until(lambda: log.exists() and "options were read again" in log.read_text())
        assert "read again" not in moved.read_text()
        assert process.running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_executor_and_a_distributor_end_well(engine: Fleet, number: signal.Signals) -> None:
    executor = engine.executor(f"ends-{number}")
    distributor = engine.distributor(f"ends-too-{number}", "dummy_test_action")
    engine.await_nodes(f"ends-too-{number}")
    for process in (executor, distributor):
        process.signal(number)
        assert process.wait() == 0
        assert "has ended" in process.log
