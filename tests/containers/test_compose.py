"""compose.yaml as it stands: its services as containers, beside a real ZooKeeper and a real Elasticsearch."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import elasticsearch
from tests.support.containers import TOP, Container, Image, missing
from tests.support.elastic_stores import new_prefix, remove_indexes
from tests.support.fleet import until
from tests.support.machine import debian
from tests.support.ports import free_port
from tests.support.zookeeper import shared

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((TOP / "compose.yaml").read_text())["services"]
PASSWORDS = {"admin-pass": secrets.token_hex(12), "fleet-pass": secrets.token_hex(12)}
NUMBERS = count(1)
SECRETS = {**PASSWORDS, "zk-auth": f"geventjob:{secrets.token_hex(12)}"}

if reason := missing():
    pytest.skip(f"no containers here: {reason}", allow_module_level=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    made = Image(tmp_path_factory.mktemp("image"), debian())
    yield made
    made.remove()


class Site:
    """The services that were started, in the order of `depends_on`."""

    def __init__(self, image: Image, folder: Path, stack: ExitStack) -> None:
        self._image = image
        self._folder = folder
        self._stack = stack
        self._secrets = folder / "secrets"
        self._secrets.mkdir()
        for name, secret in SECRETS.items():
            (self._secrets / name).write_text(secret)
            (self._secrets / name).chmod(0o400)
            os.chown(self._secrets / name, 10001, 10001)
        self._prefix = new_prefix()
        stack.callback(remove_indexes, self._prefix)
        self._ports = {name: free_port() for name in ("server-1", "server-2")}
        self.fleet: dict[str, list[Container]] = defaultdict(list)
        """The containers of each service that goes on."""

    def service(self, name: str) -> dict[str, Any]:
        """Return a service with addresses of this host, a path in ZooKeeper and a prefix of its own."""
        words = {f"{each}:8200": f"127.0.0.1:{port}" for each, port in self._ports.items()}
        words |= {"zookeeper:2181": shared().hosts, "http://elasticsearch:9200": elasticsearch.shared()}
        if name in self._ports:
            words |= {"0.0.0.0": "127.0.0.1", "127.0.0.1:8200": f"127.0.0.1:{self._ports[name]}"}
        pattern = re.compile("|".join(map(re.escape, words)))

        def here(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: here(each) for key, each in value.items()}
            if isinstance(value, list):
                return [here(each) for each in value]
            return pattern.sub(lambda found: words[found[0]], value) if isinstance(value, str) else value

        service: dict[str, Any] = here(SERVICES[name])
        if "GEVENTJOB_ZK_HOSTS" in service["environment"]:
            service["environment"]["GEVENTJOB_ZK_ROOT"] = f"/{self._prefix}"
        if name in self._ports:
            service["environment"]["GEVENTJOB_ES_INDEX_PREFIX"] = self._prefix
            service["environment"]["GEVENTJOB_PORT"] = str(self._ports[name])
        return service

    def start(self, name: str, *command: str) -> Container:
        """Start a service, or a command in its place, as `docker compose run`."""
        made = Container(
            self._image, self._folder / f"{next(NUMBERS)}", name, self.service(name), self._secrets, *command
        )
        self._stack.callback(made.remove)
        return made

    def admin(self, *command: str) -> str:
        """Return the output of a command that the administrator types."""
        made = self.start("admin", *command)
        code = made.wait()
        made.remove()
        assert code == 0, made.log
        return made.log

    def healthy(self, container: Container, name: str) -> bool:
        """Return whether the health check of a service succeeds in a container."""
        assert container.running, container.log
        word, *command = self.service(name)["healthcheck"]["test"]
        assert word == "CMD"
        return container.inside(*command).returncode == 0


@pytest.fixture(scope="module")
def site(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        made = Site(image, tmp_path_factory.mktemp("site"), stack)
        for name in ("server-1", "server-2"):
            server = made.start(name)
            until(lambda server=server, name=name: made.healthy(server, name), 60)
            made.fleet[name].append(server)
        for _ in range(2):  # the second time the user exists
            admin = made.start("admin")
            assert admin.wait() == 0, admin.log
            admin.remove()
        for name in ("executor", "distributor"):
            made.fleet[name] = [made.start(name) for _ in range(SERVICES[name]["deploy"]["replicas"])]
        yield made


def nodes(site: Site) -> list[str]:
    """Return the roles of all processes that are announced."""
    return sorted(re.findall("^(executor|distributor|server)", site.admin("geventjob", "nodes"), re.MULTILINE))


def submitted(site: Site, *arguments: str) -> str:
    """Return the id of a new job."""
    return site.admin("geventjob", "submit", "dummy_test_action", *arguments).strip()


def job(site: Site, id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.admin("geventjob", "show", id, "--json"))
    return found


def test_the_fleet_is_there_and_jobs_run(site: Site) -> None:
    until(lambda: nodes(site) == [kind for kind in ("distributor", "executor", "server") for _ in range(2)], 60)
    assert "100 SUCCESS" in site.admin("geventjob", "submit", "dummy_test_action", "--count", "100", "--wait")


@pytest.mark.parametrize("name", ["server-1", "executor", "distributor"])
def test_a_container_has_no_rights(site: Site, name: str) -> None:
    (container, *_) = site.fleet[name]
    assert container.inside("touch", "/var/lib/geventjob/x", "/tmp/x").returncode == 0
    first, *others = container.processes()
    assert others
    for process in (first, *others):
        mounts = [line.split() for line in (process / "mounts").read_text().splitlines()]
        read_only = {path for _, path, _, options, *_ in mounts if "ro" in options.split(",")}
        assert {"/", "/run/secrets/zk-auth"} <= read_only
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        assert status["Uid"].split() == ["10001"] * 4
        assert status["NoNewPrivs"] == "1"
        assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}


def test_secrets_are_in_no_environment_no_command_line_and_no_log(site: Site) -> None:
    for container in (each for containers in site.fleet.values() for each in containers):
        processes = container.processes()
        assert "GEVENTJOB_ZK_AUTH_FILE=/run/secrets/zk-auth" in (processes[0] / "environ").read_text()
        shown = [container.log, *((each / file).read_text() for each in processes for file in ("environ", "cmdline"))]
        for secret in SECRETS.values():
            assert not any(secret in text for text in shown)


def test_an_executor_that_is_stopped_drains(site: Site) -> None:
    for each in site.fleet["executor"][1:]:
        each.terminate()
        assert each.wait() == 0
    (executor, *_) = site.fleet["executor"]
    id = submitted(site, "--payload", '{"seconds": 5}')
    until(lambda: job(site, id)["state"] == "RUNNING")
    executor.terminate()
    assert executor.wait() == 0, executor.log
    assert job(site, id)["state"] == "SUCCESS"
    assert "0 jobs left to others" in executor.log


def test_a_server_that_has_ended_is_unhealthy(site: Site) -> None:
    """The health check of the ended server runs in a container that goes on."""
    (first,), (second,) = site.fleet["server-1"], site.fleet["server-2"]
    assert site.healthy(first, "server-2")
    second.terminate()
    assert second.wait() == 0, second.log
    assert not site.healthy(first, "server-2")
    assert site.healthy(first, "server-1")
