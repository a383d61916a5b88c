"""Tools for authors of actions: `geventjob run`, `new-action`, and the tests of docs/how-to/test-actions.md."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.examples import ROOT, files
from tests.support.fleet import until

ACTIONS = """
import logging
import socket
import sys
import time

from geventjob import action

log = logging.getLogger(__name__)

@action("tells", retries=2)
def tells(job, text: str, fail: bool = False):
    log.warning("this is logged: %s", text)
    print("this is printed")
    job.set_progress(50)
    job.set_status_message(text)
    if fail:
        raise OSError("away")
    return {"attempt": job.attempt, "target": job.get("targetResource"), "patched": socket.socket.__module__}

@action("sleeps")
def sleeps(job):
    print("asleep", flush=True)
    time.sleep(600)

@action("reads")
def reads(job):
    return {"line": sys.stdin.readline()}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "own.py").write_text(ACTIONS)
    return tmp_path


def passed(folder: Path, *options: str) -> str:
    """Run pytest in a folder, as an author would; return its last line."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, capture_output=True, text=True, timeout=120, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


# --- run


def test_an_action_runs_here_with_its_log_edits_and_result(here: Path) -> None:
    cli = Cli(here / "data")
    payload = '{"text": "hello"}'
    done = cli("run", "tells", "--actions-dir", f"{here}/actions", "--payload", payload, "--target", "site/1")
    assert done.stdout.splitlines() == [
        "this is printed",
        "progress  50",
        "statusMessage  hello",
        "SUCCESS: hello",
        "returnCode  0",
        'output  {"attempt": 1, "target": {"href": "site/1"}, "patched": "gevent._socket3"}',
        'affectedResources  [{"href": "site/1"}]',
    ]
    assert "this is logged: hello" in done.stderr
    assert " tells] " in done.stderr, "a line of the log names the action, as in an executor"
    assert not (here / "data").exists()


def test_a_failure_is_told_with_its_traceback_and_its_next_try(here: Path) -> None:
    cli = Cli(here / "data")
    command = ["run", "tells", "--actions-dir", f"{here}/actions"]
    done = subprocess.run([*cli.command, *command, "--payload", '{"text": "t", "fail": true}'],
                          capture_output=True, text=True, timeout=60, env=cli.environ)  # fmt: skip
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"FAILED, tried again in (0\.\d+|1) s: OSError: away", last)
    assert 'raise OSError("away")' in done.stderr
    late = cli("run", "sleeps", "--actions-dir", f"{here}/actions", "--job-timeout", "0.3", code=1)
    assert late.stdout.splitlines() == ["asleep", "FAILED: timed out after 0.3 s"]
    job = json.loads(cli("run", "dummy_test_action", "--payload", '{"return_code": 3}', "--json", code=1).stdout)
    assert (job["state"], job["returnCode"]) == ("FAILED", 3)


def test_the_payload_may_come_from_stdin_and_an_action_may_read_it(here: Path) -> None:
    cli = Cli(here / "data")
    folder = ["--actions-dir", f"{here}/actions"]
    assert (
        "SUCCESS: from stdin" in cli("run", "tells", *folder, "--payload", "-", stdin='{"text": "from stdin"}').stdout
    )
    assert '{"line": "a line\\n"}' in cli("run", "reads", *folder, stdin="a line\n").stdout


def test_the_folder_of_up_is_the_default(here: Path) -> None:
    cli = Cli(None, XDG_STATE_HOME=str(here / "state"), HOME=str(here))
    folder = here / "state" / "geventjob"
    folder.mkdir(parents=True)
    (here / "actions").rename(folder / "actions")
    assert "SUCCESS" in cli("run", "tells", "--payload", '{"text": "t"}').stdout


def test_wrong_usage_is_one_line(here: Path) -> None:
    cli = Cli(here / "data")
    folder = ["--actions-dir", f"{here}/actions"]
    assert cli.wrong("run", "nothing", *folder) == f"geventjob: no action is named 'nothing' in {here}/actions"
    assert "--payload: expected a JSON object" in cli.wrong("run", "tells", *folder, "--payload", "[]")
    assert "--job-timeout: " in cli.wrong("run", "tells", *folder, "--job-timeout", "x")
    assert "targetResource" in cli.wrong("run", "tells", *folder, "--target", "")
    assert f"folder {here}/none cannot be searched" in cli.wrong("run", "tells", "--actions-dir", f"{here}/none")
    (here / "actions").chmod(0o777)
    assert "--allow-unsafe-plugins" in cli.wrong("run", "tells", *folder)
    assert "SUCCESS" in cli("run", "tells", *folder, "--payload", '{"text": "t"}', "--allow-unsafe-plugins").stdout


def test_ctrl_c_ends_it(here: Path) -> None:
    process = Cli(here / "data").start("run", "sleeps", "--actions-dir", f"{here}/actions")
    assert process.stdout
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "STOPPED\n")
    assert "Traceback" not in errors


def test_a_debugger_works(here: Path) -> None:
    (here / "actions" / "stops.py").write_text(
        'from geventjob import action\n\n@action("stops")\ndef stops(job):\n    breakpoint()\n    return {"seen": 5}\n'
    )
    cli = Cli(here / "data")
    terminal, own = pty.openpty()
    process = subprocess.Popen(
        [*cli.command, "run", "stops", "--actions-dir", f"{here}/actions"],
        stdin=own, stdout=own, stderr=subprocess.PIPE, env=cli.environ,
    )  # fmt: skip
    os.close(own)
    shown = b""

    def seen(text: bytes) -> bool:
        nonlocal shown
        shown += os.read(terminal, 10_000)
        return text in shown

    until(lambda: seen(b"(Pdb)"))
    os.write(terminal, b"p job.action\n")
    until(lambda: seen(b"'stops'"))
    os.write(terminal, b"c\n")
    assert process.wait(30) == 0
    process.communicate()
    os.close(terminal)


# --- new-action


def test_a_new_action_and_its_test_pass_and_run(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    done = cli("new-action", "copy_rows", "--dir", str(tmp_path))
    made = [str(tmp_path / "actions" / "copy_rows.py"), str(tmp_path / "tests" / "test_copy_rows.py")]
    assert done.stdout.splitlines()[:2] == made
    assert cli.json("new-action", "other", "--dir", str(tmp_path))[0] == str(tmp_path / "actions" / "other.py")
    assert passed(tmp_path, "tests").startswith("8 passed")
    ran = cli("run", "copy_rows", "--actions-dir", str(tmp_path / "actions"), "--payload", '{"text": "hello"}')
    assert 'output  {"lines": ["HELLO"]}' in ran.stdout
    style = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    subprocess.run([*style, "--ignore", "ANN"], check=True, capture_output=True)
    assert "is there already" in cli.wrong("new-action", "copy_rows", "--dir", str(tmp_path))
    for name in ("Copy", "a-b", "../x", "class", "", "1a", "action"):
        assert "NAME: expected a name" in cli.wrong("new-action", name, "--dir", str(tmp_path))
    assert "cannot write" in cli.wrong("new-action", "x", "--dir", "/proc/nothing")


# --- testing


def test_the_page(tmp_path: Path) -> None:
    for name, text in files(ROOT / "docs" / "how-to" / "test-actions.md").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert passed(tmp_path, "tests").startswith("3 passed")


def test_the_plugin(here: Path) -> None:
    (here / "conftest.py").write_text('pytest_plugins = ["geventjob.testing.plugin"]\n')
    (here / "test_it.py").write_text("""
import sys
import pytest

def test_names_are_found_beside_the_ini_file(rehearse, geventjob_actions):
    job = rehearse("tells", {"text": "t"}).finish()
    assert job.output["attempt"] == 1
    code = geventjob_actions.get("tells").target
    assert rehearse(code, {"text": "t"}, timeout=5).run().job["timeout"] == 5
    with pytest.raises(LookupError):
        rehearse("nothing")
    assert rehearse("dummy_test_action", {"seconds": 0}).finish().state == "SUCCESS"

def test_they_are_loaded_once(geventjob_actions):
    assert sys.modules[geventjob_actions.get("tells").target.__module__].tells is geventjob_actions.get("tells").target
""")
    (here / "pytest.ini").write_text("[pytest]\n")
    assert passed(here).startswith("2 passed")
    (here / "actions").rename(here / "others")
    (here / "pytest.ini").write_text("[pytest]\ngeventjob_actions_dir = others\n")
    assert passed(here).startswith("2 passed")
