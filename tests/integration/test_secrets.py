"""Every secret of a run, looked for in all that the run shows: logs, dumps, answers, metrics, processes, files."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from kazoo.client import KazooClient

from geventjob import Client, config
from geventjob.cimi.document import COOKIE
from geventjob.cimi.errors import LoginRefused
from tests.support.command_line import Cli
from tests.support.fleet import Fleet, Process, ended, fleet, until
from tests.support.job_server import Caller
from tests.support.ports import free_port
from tests.support.zookeeper import Certificates, shared

ACTIONS = Path(__file__).parents[1] / "actions" / "secretive.py"
PATHS = (
    *("job", "user", "credential", "session", "session?all=true", "event", "schedule", "limit", "pause"),
    *("rate", "failure", "attention", "node", "distributor", "queue", "openapi.json", "cloud-entry-point"),
)
TICKER = """
from geventjob import Distributor, distributor

@distributor("shows_settings")
class ShowsSettings(Distributor):
    interval = 0.2

    def jobs(self):
        self.log.info("%r %r", self.client, self.settings)
        raise RuntimeError("no job today")
"""


@dataclass
class Run:
    """A system that has secrets, and what it has shown so far."""

    fleet: Fleet
    ca: str
    secrets: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict, repr=False)

    def new(self, name: str) -> str:
        """Return a new secret."""
        self.secrets[name] = f"hidden-{name}-{secrets.token_hex(8)}"
        return self.secrets[name]

    def file(self, name: str, before: str = "") -> str:
        """Return a file with a new secret."""
        path = self.fleet.folder / name
        path.write_text(before + self.new(name))
        path.chmod(0o600)
        return str(path)

    def client(self, user: str, name: str) -> Client:
        return Client(self.fleet.url, user, self.secrets[name], ca=self.ca)

    def leaks(self) -> list[str]:
        """Return where which secrets are shown."""
        return [
            f"{name} in {place}: …{found.group()}…"
            for place, text in self.shown.items()
            for name, secret in self.secrets.items()
            if (found := re.search(f".{{0,200}}{re.escape(secret)}.{{0,50}}", text))
        ]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with fleet(tmp_path, shared().hosts) as made:
        certificates = Certificates(tmp_path / "certificates")
        made.url = f"https://127.0.0.1:{made.port}"
        shutil.copy(ACTIONS, made.actions_dir)
        (made.folder / "ticker.py").write_text(TICKER)
        yield Run(made, str(certificates.ca))


def without_payload(found: Any) -> Any:
    """Return JSON without the payloads of jobs, which are shown to who may see the job."""
    if isinstance(found, dict):
        return {name: without_payload(value) for name, value in found.items() if name != "payload"}
    return [without_payload(value) for value in found] if isinstance(found, list) else found


def test_no_secret_of_a_run_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run.fleet
    every = [f"--zk-auth-file={run.file('zookeeper', 'engine:')}", f"--metrics-token-file={run.file('metrics')}"]
    every += ["--log-level=debug"]
    certificate = Path(run.ca).parent / "server.pem"
    tls = ["--tls-cert", str(certificate), "--tls-key", str(certificate.with_suffix(".key"))]
    made.password_file = Path(run.file("admin"))
    server = made.start_server(*every, *tls)
    admin = run.client("super", "admin")
    until(lambda: admin.healthy() or not server.running)
    for user in ("executor", "distributor"):
        admin.add("user", {"username": user, "password": run.new(user), "roles": "EXECUTOR USER"})
    key = run.client("executor", "executor").new_key(name="of a command")
    run.secrets["key"] = key.secret

    ports = {"executor": free_port(), "distributor": free_port()}
    with monkeypatch.context() as environment:
        environment.setenv("GEVENTJOB_SS_USER", "executor")
        environment.setenv("GEVENTJOB_SS_PASS", run.secrets["executor"])
        made.login = ["--ss-ca", run.ca]
        executor = made.start_executor("one", *every, "--metrics-port", str(ports["executor"]))
    made.login += ["--ss-user", "distributor", "--ss-pass", run.secrets["distributor"]]
    folder = ["--distributors-dir", str(made.folder), "shows_settings"]
    distributor = made.distributor("two", *every, "--metrics-port", str(ports["distributor"]), *folder)
    until(lambda: {"one", "two"} <= {node["name"] for node in admin.nodes()}, 60)

    payload = {"password": run.new("payload"), "nested": [{"api_key": run.new("nested")}]}
    hanging = admin.submit("hangs", payload)
    jobs = [
        admin.submit(name, payload) for name in ("fails_greenlet", "fails_process", "looks_around", "wants_a_number")
    ]
    jobs += [admin.submit("hangs", payload, timeout=1)]
    assert {job["state"] for job in ended(admin, jobs).values()} == {"FAILED", "SUCCESS"}
    until(lambda: admin.get(hanging).get("statusMessage"))
    wrong_log_ins(run)
    caller = logged_in(run)
    signals(run, server, executor, distributor)
    look_at_processes(run, server, executor, distributor)
    look_at_answers(run, caller, [hanging, *jobs])
    look_at_metrics(run, ports)
    look_at_commands(run, key.id, [hanging, *jobs])
    look_at_zookeeper(run)
    admin.operation(hanging, "stop")
    ended(admin, [hanging])
    for process in (distributor, executor, server):
        assert process.stop() == 0
        run.shown[f"the log {process.log_file.name}"] = process.log
    look_at_files(run)
    assert "cannot log in at https://***@host/ with ***" in run.shown["GET job"]
    leaks = run.leaks()
    assert not leaks, "\n".join(leaks)


def wrong_log_ins(run: Run) -> None:
    """Give passwords in the wrong places."""
    mistakes = (("super", run.new("wrong")), (run.secrets["admin"], "x"), ("executor", run.secrets["admin"]))
    for number, (user, password) in enumerate(mistakes):
        with pytest.raises(LoginRefused) as refused, Client(run.fleet.url, user, password, ca=run.ca) as client:
            client.search("job")
        if user in ("super", "executor"):
            run.shown[f"wrong log-in {number}"] = f"{refused.value!s} {refused.value!r} {client!r}"


def logged_in(run: Run) -> Caller:
    """Return an administrator with a cookie."""
    caller = Caller(run.fleet.url)
    caller.http.verify = run.ca
    caller.login("super", run.secrets["admin"])
    run.secrets["cookie"] = str(caller.http.cookies[COOKIE])
    return caller


def signals(run: Run, *processes: Process) -> None:
    """Let the processes dump their stacks, and read their options again."""
    for process in processes:
        process.signal(signal.SIGUSR1)
        process.signal(signal.SIGHUP)
    until(lambda: all("read again" in process.log and "SIGUSR1: " in process.log for process in processes))


def look_at_processes(run: Run, *processes: Process) -> None:
    for process in processes:
        whole = psutil.Process(process.pid)
        run.shown[f"the list of processes, {whole.pid}"] = repr([whole.name(), whole.cmdline()])
        for child in whole.children(recursive=True):
            run.shown[f"the child {child.pid} of {whole.name()}"] = repr([child.cmdline(), child.environ()])


def look_at_answers(run: Run, caller: Caller, jobs: list[str]) -> None:
    """Read each collection and all that there is of each job."""
    paths = [*PATHS, *(f"{job}{part}" for job in jobs for part in ("", "/log", "/record", "/why", "/event"))]
    for path in paths:
        answer = caller.get(path)
        assert answer.status_code in (200, 404), (path, answer.text)
        run.shown[f"GET {path}"] = json.dumps(without_payload(answer.json()))


def look_at_metrics(run: Run, ports: dict[str, int]) -> None:
    urls = [f"{run.fleet.url}/metrics", *(f"http://127.0.0.1:{port}/metrics" for port in ports.values())]
    for url in urls:
        given = {"Authorization": f"Bearer {run.secrets['metrics']}"}
        answer = requests.get(url, headers=given, verify=run.ca, timeout=30)
        assert answer.status_code == 200
        run.shown[url] = answer.text
        refused = requests.get(url, headers={"Authorization": "Bearer x"}, verify=run.ca, timeout=30)
        assert refused.status_code in (401, 403)
        run.shown[f"{url} without the token"] = refused.text


def look_at_commands(run: Run, key: str, jobs: list[str]) -> None:
    file = run.fleet.folder / "key-secret"
    file.write_text(run.secrets["key"])
    file.chmod(0o600)
    cli = Cli(None, GEVENTJOB_SS_URL=run.fleet.url, GEVENTJOB_SS_CA=run.ca)
    by_key = ["--ss-key", key, "--ss-secret-file", str(file)]
    lines = [["jobs"], ["nodes"], ["key", "list"], ["sessions"], ["why", jobs[0]]]
    lines += [[command, job] for job in jobs[:3] for command in ("logs", "show")]
    for line in lines:
        done = cli(*by_key, *line)
        said = done.stdout if line[0] != "show" else json.dumps(without_payload(cli.json(*by_key, *line)))
        run.shown[f"geventjob {' '.join(line)}"] = said + done.stderr
    file.write_text(run.secrets["admin"])
    run.shown["a wrong key"] = cli.wrong(*by_key, "jobs", code=5)


def look_at_zookeeper(run: Run) -> None:
    client = KazooClient(run.fleet.zk_hosts, auth_data=[("digest", f"engine:{run.secrets['zookeeper']}")])
    client.start()
    try:
        paths = [run.fleet.zk_root]
        for path in paths:
            paths += [f"{path}/{name}" for name in client.get_children(path)]
        run.shown["ZooKeeper"] = repr([(path, client.get(path)) for path in paths if client.exists(path)])
    finally:
        client.stop()
        client.close()


def look_at_files(run: Run) -> None:
    """Read what the processes have written; the store alone has payloads, and the keys that sign cookies."""
    stored = "".join(path.read_text("latin-1") for path in run.fleet.data_dir.glob("store.db*"))
    keys = re.findall(r'"key":\s*"([0-9a-f]{64})"', stored)
    assert keys
    run.secrets |= {f"signing-{number}": key for number, key in enumerate(keys)}
    for path in run.fleet.data_dir.rglob("*"):
        if path.is_file() and not path.name.startswith("store.db"):
            run.shown[str(path)] = path.read_text(errors="replace")
    for name in ("payload", "nested", *(name for name in run.secrets if name.startswith("signing"))):
        stored = stored.replace(run.secrets[name], "")
    run.shown["the store"] = stored
    for command in ("server", "executor"):
        argv = [
            f"--zk-auth-file={run.fleet.folder / 'zookeeper'}",
            "--metrics-token-file",
            str(run.fleet.folder / "metrics"),
        ]
        argv += ["--zk-hosts=a:1", "--zk-root=/a"]
        argv += ["--admin-pass-file", str(run.fleet.folder / "admin")] if command == "server" else ["--ss-user=u"]
        argv += ["--ss-pass", run.secrets["executor"]] if command == "executor" else []
        settings = config.parse(command, argv, {})
        run.shown[f"settings of {command}"] = repr(settings) + str(settings)
