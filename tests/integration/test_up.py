"""`geventjob up`: the whole engine as one command, and the state after each kind of end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from geventjob.isolated import isolated
from tests.support.fleet import until
from tests.support.ports import free_port

COMMAND = [sys.executable, "-m", "geventjob.cli.main"]
DYING = ["setpriv", "--pdeathsig", "KILL"]
"""With the test run, should that be killed."""
ACTION = '''
from geventjob import action

@action("greet")
def greet(job):
    """From the tutorial."""
    job.set_status_message(f"hello {job.payload['name']}")
'''

NAP = """
import time
from geventjob import action

@action("nap")
def nap(job):
    time.sleep(60)
"""


class Up:
    """One `geventjob up`, and its command line."""

    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        self.data_dir = folder / "data"
        self.output_file = folder / f"up-{port}.out"
        self.address = ["--data-dir", str(self.data_dir), "--port", str(port)]
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(
                [*DYING, *COMMAND, "up", *self.address, *arguments],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def ready(self) -> Up:
        until(lambda: "geventjob is up" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        until(lambda: {"executor", "distributor"} <= {node["role"] for node in self.json("nodes")})
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        client = ["-c", str(self.data_dir / "client.ini")]
        return subprocess.run([*COMMAND, *client, *arguments], capture_output=True, text=True, timeout=60)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def children(self) -> dict[str, psutil.Process]:
        """Return the child processes by the last part of their module's name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            command = " ".join(child.cmdline())
            for name in ("server", "executor", "distributor"):
                if f"geventjob-{name}" in command or f"geventjob.cli.{name}" in command:
                    found[name] = child
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def up(tmp_path: Path, port: int) -> Iterator[Up]:
    made = Up(tmp_path, port)
    try:
        yield made.ready()
    finally:
        made.process.kill()
        made.process.wait()


def test_it_comes_up_runs_jobs_and_goes_in_good_order(up: Up) -> None:
    done = up.run("submit", "dummy_test_action", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    children = list(up.children().values())
    assert len(children) == 3
    assert up.stop() == 0
    assert not any(child.is_running() for child in children)
    log = up.data_dir / "log"
    assert "has ended; 0 jobs left" in (log / "executor.log").read_text()


def test_signals_are_passed_on(up: Up) -> None:
    log = up.data_dir / "log" / "executor.log"
    for number, line in {signal.SIGHUP: "read again", signal.SIGUSR1: "SIGUSR1", signal.SIGUSR2: "debug now"}.items():
        up.process.send_signal(number)
        until(lambda line=line: line in log.read_text() or up.process.poll() is not None)
    assert up.process.poll() is None


def test_a_hangup_brings_new_options_to_the_children(tmp_path: Path, port: int) -> None:
    ini = tmp_path / "up.ini"
    ini.touch()
    up = Up(tmp_path, port, "-c", str(ini))
    try:
        log = up.ready().data_dir / "log" / "executor.log"
        children = up.children()
        ini.write_text("threads = 3\n[timeouts]\nnap = 0.3\n")
        (up.data_dir / "actions" / "nap.py").write_text(NAP)
        up.process.send_signal(signal.SIGHUP)
        until(lambda: "actions were read again" in log.read_text())
        assert "options were read again; changed: [timeouts]\nrestart to change --threads\n" in up.output
        assert "changed: [timeouts]" in log.read_text()
        done = up.run("submit", "nap", "--wait")
        assert "timed out after 0.3 s" in done.stdout + done.stderr
        ini.write_text("thread = 3\n")
        up.process.send_signal(signal.SIGHUP)
        until(lambda: f"SIGHUP: nothing changes: {ini}: unknown option 'thread'" in up.output)
        assert log.read_text().count("options were read again") == 1
        assert up.children() == children
        assert up.stop() == 0
    finally:
        up.process.kill()
        up.process.wait()


def test_its_secrets_are_its_owners_alone(up: Up) -> None:
    client_ini = up.data_dir / "client.ini"
    password = client_ini.read_text().split("ss-pass = ")[1].strip()
    assert len(password) >= 20
    for path in (client_ini, up.data_dir / "admin-pass"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(up.data_dir.stat().st_mode) == 0o700
    shown = [" ".join(child.cmdline()) for child in up.children().values()] + [up.output]
    shown += [path.read_text() for path in (up.data_dir / "log").iterdir()]
    assert not any(password in text for text in shown)


def test_a_second_one_names_the_first(up: Up, tmp_path: Path, port: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    same_port, same_data = Up(elsewhere, port), Up(tmp_path, free_port())
    for second in (same_port, same_data):
        assert second.process.wait(20) == 2
        expected = f"geventjob up: already running as PID {up.process.pid}; stop it or choose --port and --data-dir\n"
        assert second.output.endswith(expected)


def test_it_uses_no_folder_that_others_may_write_to(tmp_path: Path, port: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    up = Up(tmp_path, port)
    assert up.process.wait(20) == 2
    assert (
        up.output == f"geventjob up: --data-dir: {up.data_dir}: everybody may write to it; chmod go-w {up.data_dir}\n"
    )
    assert list(up.data_dir.iterdir()) == []


def test_it_touches_neither_the_current_folder_nor_that_of_temporary_files(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children import from neither; a console script does not, either."""
    for name in ("gevent", "configargparse", "argparse"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"{__name__}.COMMAND", isolated("geventjob.cli.main"))
    up = Up(tmp_path, port)
    try:
        up.ready()
        assert not (tmp_path / "imported").exists()
        assert list((tmp_path / "tmp").iterdir()) == []  # nor is there a file where others may write
    finally:
        up.process.kill()
        up.process.wait()


def test_a_port_that_somebody_else_has(tmp_path: Path, port: int) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        up = Up(tmp_path, port)
        assert up.process.wait(20) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in up.output
    assert up.output.count("\n") == 1


@pytest.mark.parametrize("name", ["server", "executor", "distributor"])
def test_a_child_that_dies_is_started_again(up: Up, name: str) -> None:
    first = up.children()[name]
    first.kill()
    until(lambda: f"{name} was killed by SIGKILL" in up.output)
    until(lambda: up.children().get(name, first).pid != first.pid)
    assert up.run("submit", "dummy_test_action", "--wait").returncode == 0


def test_killed_it_leaves_nothing(up: Up) -> None:
    children = list(up.children().values())
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    until(lambda: not any(child.is_running() for child in children))


def test_a_second_start_finds_the_jobs_of_the_first(up: Up, tmp_path: Path, port: int) -> None:
    [id] = up.json("submit", "dummy_test_action", "--wait")
    password = (up.data_dir / "client.ini").read_text()
    assert up.stop() == 0
    again = Up(tmp_path, port).ready()
    try:
        assert again.json("show", id)["state"] == "SUCCESS"
        assert (again.data_dir / "client.ini").read_text() == password
    finally:
        assert again.stop() == 0


def test_its_fleet_logs_in_by_an_api_key_that_it_keeps(up: Up, tmp_path: Path, port: int) -> None:
    key = (up.data_dir / "fleet-key").read_text().strip()
    for command in ("executor", "distributor"):
        ini = (up.data_dir / f"{command}.ini").read_text()
        assert f"ss-key = {key}\n" in ini
        assert "ss-pass" not in ini
    assert "ss-pass = " in (up.data_dir / "client.ini").read_text()
    assert up.run("submit", "dummy_test_action").returncode == 0
    assert up.stop() == 0
    again = Up(tmp_path, port).ready()
    try:
        assert (up.data_dir / "fleet-key").read_text().strip() == key
        assert up.run("key", "delete", key).returncode == 0
        assert again.stop() == 0
        again = Up(tmp_path, port).ready()
        assert (up.data_dir / "fleet-key").read_text().strip() != key
    finally:
        again.stop()


def test_an_action_of_ones_own(up: Up, tmp_path: Path, port: int) -> None:
    (up.data_dir / "actions" / "greet.py").write_text(ACTION)
    assert up.stop() == 0
    again = Up(tmp_path, port).ready()
    try:
        [id] = again.json("submit", "greet", "--payload", '{"name": "world"}', "--wait")
        assert again.json("show", id)["statusMessage"] == "hello world"
    finally:
        assert again.stop() == 0


def test_the_demo_ends_well(tmp_path: Path, port: int) -> None:
    up = Up(tmp_path, port, "--demo")
    try:
        until(lambda: "the engine stays up" in up.output, 60)
        found = up.json("jobs", "--last", "200")
        states = [job["state"] for job in found if job.get("properties", {}).get("demo")]
        assert {state: states.count(state) for state in states} == {"SUCCESS": 81, "FAILED": 18, "STOPPED": 1}
        assert f"-c {up.data_dir}/client.ini submit" in up.output
        assert up.stop() == 0
    finally:
        up.process.kill()


BROKEN = "import nothing_of_this_name\n"
SLOW = """
import time
from geventjob import action

@action("slow")
def slow(job):
    time.sleep(job.payload.get("seconds", 600))
    job.set_status_message("first")
"""
EACH_SECOND = """
from geventjob import Distributor, distributor

@distributor("each_second")
class EachSecond(Distributor):
    interval = 1

    def jobs(self):
        yield {"action": "dummy_test_action", "payload": {"seconds": 0}, "name": "of each_second"}
"""


def prepared(folder: Path, **files: str) -> None:
    """Put files into the data folder of the `up` to come: `actions__x="…"` becomes x.py in actions."""
    for name, text in files.items():
        path = folder / "data" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for made in (folder / "data", *(folder / "data").iterdir()):
        made.chmod(0o700)


def test_it_tells_what_is_left_out_and_where_things_are(tmp_path: Path, port: int) -> None:
    prepared(tmp_path, actions__broken=BROKEN, actions__greet=ACTION, distributors__wrong=BROKEN)
    up = Up(tmp_path, port).ready()
    try:
        data = up.data_dir
        why = "ModuleNotFoundError: No module named 'nothing_of_this_name'"
        for line in (
            f"left out: {data}/actions/broken.py: {why}",
            f"left out: {data}/distributors/wrong.py: {why}",
            f"logs:         {data}/log/*.log",
            f"actions:      {data}/actions/*.py (found at start; --reload finds changes)",
        ):
            until(lambda line=line: line in up.output.splitlines())
        assert "broken.py" in up.run("actions").stderr
        assert up.run("submit", "greet", "--payload", '{"name": "x"}', "--wait").returncode == 0
    finally:
        assert up.stop() == 0


def test_any_free_port_and_a_distributor_beside_the_usual_one(tmp_path: Path) -> None:
    prepared(tmp_path, distributors__each_second=EACH_SECOND)
    up = Up(tmp_path, 0, "--distributor", "each_second").ready()
    try:
        (node,) = [node for node in up.json("nodes") if node["role"] == "distributor"]
        assert node["distributors"] == ["each_second", "jobs_cleanup", "schedules"]
        until(lambda: up.json("jobs", "--filter", "name='of each_second' and state='SUCCESS'"))
        assert "http://127.0.0.1:0," not in up.output
    finally:
        assert up.stop() == 0


def test_a_file_that_changes_is_read_again(tmp_path: Path, port: int) -> None:
    prepared(tmp_path, actions__slow=SLOW)
    up = Up(tmp_path, port, "--reload").ready()
    try:
        [id] = up.json("submit", "slow")
        until(lambda: up.json("show", id)["state"] == "RUNNING")
        changed = SLOW.replace("600", "0").replace('"first"', '"second"')
        (up.data_dir / "actions" / "slow.py").write_text(changed)
        assert up.run("watch", id, "--timeout", "60").returncode == 0
        assert up.json("show", id)["statusMessage"] == "second"
        assert "executor starts again: a file has changed" in up.output
        assert "was killed" not in up.output
        assert "ended with" not in up.output
    finally:
        assert up.stop() == 0


def test_a_stop_tells_what_is_waited_for(tmp_path: Path, port: int) -> None:
    prepared(tmp_path, actions__slow=SLOW)
    up = Up(tmp_path, port).ready()
    ids = [up.json("submit", "slow")[0] for _ in range(2)]
    until(lambda: all(up.json("show", id)["state"] == "RUNNING" for id in ids))
    up.process.send_signal(signal.SIGINT)
    until(lambda: "stopping: 2 jobs run and have 120 s to end; Ctrl-C again gives them back at once" in up.output)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
