"""API keys, used by the commands and by the client as the only log-in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.errors import Forbidden, LoginRefused
from tests.integration.test_cli import ACTIONS
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until

TICKER = """
from geventjob import Distributor, distributor

@distributor("ticker")
class Ticker(Distributor):
    interval = 0.2

    def jobs(self):
        yield {"action": "succeeds", "targetResource": {"href": "by-key"}}
"""

SecretFile = Callable[[str], str]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("keys")) as made:
        made.server()
        yield made


@pytest.fixture
def boss(up: Fleet) -> Cli:
    return Cli(None, GEVENTJOB_SS_URL=up.url, GEVENTJOB_SS_USER="super", GEVENTJOB_SS_PASS_FILE=str(up.password_file))


@pytest.fixture
def secret_file(tmp_path: Path) -> SecretFile:
    """Return a function that writes a secret into a file."""

    def made(secret: str) -> str:
        file = tmp_path / "secret"
        file.write_text(f"{secret}\n")
        file.chmod(0o600)
        return str(file)

    return made


def test_a_key_is_made_used_listed_and_deleted(up: Fleet, boss: Cli, secret_file: SecretFile) -> None:
    done = boss("key", "new", "--name", "ci", "--expires", "30", "--role", "USER")
    (_, id), (_, secret) = (line.split() for line in done.stdout.splitlines())
    assert "not shown again" in done.stderr
    robot = Cli(None, GEVENTJOB_SS_URL=up.url)
    by_key = ["--ss-key", id, "--ss-secret-file", secret_file(secret)]
    robot(*by_key, "jobs")
    assert "not allowed" in robot.wrong("nodes", *by_key, code=5)
    assert "log in with the password" in robot.wrong(*by_key, "key", "new", code=5)
    environ = {"GEVENTJOB_SS_KEY": id.partition("/")[2], "GEVENTJOB_SS_SECRET_FILE": by_key[-1]}
    assert Cli(None, GEVENTJOB_SS_URL=up.url, **environ).json("jobs") == []

    [key] = boss.json("key", "list")
    assert (key["id"], key["name"], key["claims"]["identity"]) == (id, "ci", "super")
    header, row = boss("key", "list").stdout.splitlines()
    assert header.split() == ["ID", "NAME", "USER", "ROLES", "AGE", "ENDS"]
    assert row.split()[:4] == [id, "ci", "super", "USER"]
    assert row.endswith(key["expiry"])
    assert secret not in boss("key", "list", "--json").stdout

    assert boss.json("key", "delete", id.partition("/")[2]) == {"id": id}
    assert "log-in refused" in robot.wrong(*by_key, "jobs", code=5)
    assert "there is no key credential/" in boss.wrong("key", "delete", id)
    assert boss.json("key", "list") == []


def test_what_is_wrong_with_a_key_is_one_line(boss: Cli) -> None:
    assert "days, a number above 0" in boss.wrong("key", "new", "--expires", "soon")
    assert "roles" in boss.wrong("key", "new", "--role", "admin")
    assert "not BISHOP" in boss.wrong("key", "new", "--role", "BISHOP", code=5)
    assert boss.json("key", "list") == []
    boss.wrong("key")
    assert "--role" in boss("key", "new", "--help").stdout


def test_sessions_are_listed_and_ended(up: Fleet, boss: Cli, secret_file: SecretFile) -> None:
    made = boss.json("key", "new")
    first, second = Client(up.url, "super", PASSWORD), Client(up.url, key=made["id"], secret=made["secret"])
    own = [client.search("session")["sessions"][0]["id"] for client in (first, second)]
    assert {session["id"] for session in boss.json("sessions")} >= set(own)
    header, *rows = boss("sessions", "list", "--user", "super").stdout.splitlines()
    assert header.split() == ["ID", "USER", "LOG-IN", "ADDRESS", "AGE", "ENDS"]
    assert [own[1], "super", "api-key", "127.0.0.1"] in [row.split()[:4] for row in rows]
    robot = Cli(None, GEVENTJOB_SS_URL=up.url, GEVENTJOB_SS_KEY=made["id"])
    by_key = ["--ss-secret-file", secret_file(made["secret"])]
    assert boss("sessions", "end", own[0].partition("/")[2]).stdout == f"{own[0]}  ended\n"
    assert "there is no session session/x" in boss.wrong("sessions", "end", "x")
    assert "name sessions, or give --user" in boss.wrong("sessions", "end")
    ended = boss("sessions", "end", "--user", "super", "--json").stdout
    assert own[1] in ended
    assert boss.json("sessions") == robot.json(*by_key, "sessions") == []
    assert first.search("session")["count"] == 0
    first.close()
    second.close()


def test_executors_and_distributors_log_in_by_key(up: Fleet, boss: Cli, secret_file: SecretFile) -> None:
    made = boss.json("key", "new")
    up.login = ["--ss-key", made["id"], "--ss-secret-file", secret_file(made["secret"])]
    (up.folder / "ticker.py").write_text(TICKER)
    shutil.copy(ACTIONS, up.actions_dir)
    up.executor("worker")
    up.distributor("ticking", "--distributors-dir", str(up.folder), "ticker")
    with up.client() as client:
        jobs = until(lambda: client.search("job", filter="targetResource/href='by-key'")["jobs"])
        done = ended(client, [jobs[0]["id"]])
        assert [job["state"] for job in done.values()] == ["SUCCESS"]
        assert all(made["secret"] not in process.log for process in up.processes)
        client.delete(made["id"])


def test_a_client_logs_in_by_key(up: Fleet) -> None:
    with up.client() as client:
        new = client.new_key(name="program", days=1)
        with Client(up.url, key=new.id, secret=new.secret) as robot:
            session = robot.search("session")["sessions"][0]
            assert (session["username"], session["credential"]) == ("super", {"href": new.id})
            with pytest.raises(Forbidden):
                robot.new_key()
            assert new.secret not in repr(robot) + repr(new)
            robot.delete(session["id"])
            assert robot.search("job")["count"] >= 0, "it logs in again"
            client.delete(new.id)
            with pytest.raises(LoginRefused, match=new.id):
                robot.search("job")
    with pytest.raises(ValueError, match="both a user and a key"):
        Client(up.url, "super", "x", key=new.id, secret=new.secret)
