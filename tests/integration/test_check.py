"""`geventjob check` against real parts: all well, and each part down or misconfigured."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import elasticsearch
from tests.support.fleet import PASSWORD, Fleet, fleet
from tests.support.ports import free_port
from tests.support.zookeeper import shared

ACTION = 'from geventjob import action\n\n@action("good")\ndef good(job):\n    pass\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("check")) as made:
        (made.actions_dir / "good.py").write_text(ACTION)
        made.server()
        yield made


def check(made: Fleet, *words: str, code: int) -> str:
    """Run the command, and return what it prints, which is no secret."""
    line = [sys.executable, "-m", "geventjob.cli.main", "check", *words, "--data-dir", str(made.data_dir)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert PASSWORD not in said
    return said


def executor(made: Fleet) -> list[str]:
    return ["executor", "--ss-url", made.url, *made.login, "--actions-dir", str(made.actions_dir)]


def test_all_is_well(made: Fleet) -> None:
    zookeeper = ["--zk-hosts", shared().hosts, "--zk-root", "/nothing/yet"]
    told = json.loads(check(made, *executor(made), *zookeeper, "--metrics-port", str(free_port()), "--json", code=0))
    found: dict[str, Any] = {each["what"]: each["fact"] for each in told}
    assert all(each["ok"] for each in told)
    assert found["log-in"] == "super, ADMIN"
    assert found["clock"] == "agrees with the server's"
    assert found[f"ZooKeeper {shared().hosts}"] == "gives a session"
    assert "good" in found["actions"]
    said = check(made, "distributor", "jobs_cleanup", "--ss-url", made.url, *made.login, code=0)
    assert "ok     distributors: jobs_cleanup\n" in said
    assert "ok     log-in: super, ADMIN\n" in check(made, "--ss-url", made.url, *made.login, code=0)


def test_everything_is_wrong(made: Fleet, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_module\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        hosts = f"{shared().hosts},127.0.0.1:1"
        said = check(
            made, "executor", "--ss-url", "http://127.0.0.1:1", *made.login, "--zk-hosts", hosts,
            "--actions-dir", str(tmp_path), "--metrics-port", port, "--log-dir", "/proc/nothing", code=1,
        )  # fmt: skip
    for line in (
        "wrong  log-dir /proc/nothing: cannot be written: ",
        "wrong  ZooKeeper 127.0.0.1:1: Connection refused. Start it, or mend --zk-hosts",
        "wrong  job server http://127.0.0.1:1: http://127.0.0.1:1: Connection refused. Start geventjob-server",
        f"wrong  actions of {tmp_path / 'bad.py'}: does not load: ModuleNotFoundError: No module named",
        f"wrong  metrics-port 127.0.0.1:{port}: cannot listen: Address already in use. Name another one",
        f"ok     ZooKeeper {shared().hosts}: gives a session",
    ):
        assert line in said


def test_the_log_in_is_wrong(made: Fleet, tmp_path: Path) -> None:
    other = tmp_path / "password"
    other.write_text("another secret")
    login = ["--ss-url", made.url, "--ss-user", "super", "--ss-pass-file", str(other)]
    said = check(made, *login, code=1)
    assert "wrong  log-in: log-in refused: " in said
    assert "Mend --ss-user and --ss-pass-file" in said
    assert "another secret" not in said
    made.client().add("user", {"username": "ann", "password": "another secret", "roles": "USER"})
    login[3] = "ann"
    assert "ann has the role USER; a executor needs EXECUTOR or ADMIN" in check(made, "executor", *login, code=1)
    assert "no distributor 'jobs_clean': did you mean jobs_cleanup?" in check(
        made, "distributor", "jobs_clean", *login, code=1
    )


def test_a_server_whose_elasticsearch_is_there(made: Fleet) -> None:
    node = elasticsearch.shared()
    said = check(made, "server", "--port", str(free_port()), "--es-hosts-list", node, code=0)
    assert f"ok     Elasticsearch {node}: version {elasticsearch.VERSION}, cluster " in said


def test_a_server_whose_elasticsearch_is_away(made: Fleet) -> None:
    node = "http://elastic:hunter2@127.0.0.1:1"
    said = check(made, "server", "--port", str(free_port()), "--es-hosts-list", node, code=1)
    assert "wrong  Elasticsearch http://***@127.0.0.1:1: " in said
    assert "Connection refused" in said
    assert "hunter2" not in said


def test_a_configuration_that_is_none(made: Fleet, tmp_path: Path) -> None:
    ini = tmp_path / "executor.ini"
    ini.write_text("thraeds = 5\n")
    assert "wrong  configuration: " in check(made, "executor", "-c", str(ini), code=2)
    assert "unknown command 'exekutor': did you mean executor?" in check(made, "exekutor", code=2)
