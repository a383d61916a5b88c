"""Containerfile and compose.yaml by their text: options, secrets, times, rights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from geventjob.config.options import COMMANDS, OPTIONS, options

TOP = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((TOP / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "localhost/geventjob"}
CONTAINERFILE = (TOP / "Containerfile").read_text()


def test_the_fleet_is_complete() -> None:
    assert set(OURS) == {"server-1", "server-2", "admin", "executor", "distributor"}
    assert set(COMPOSE["services"]) - set(OURS) == {"zookeeper", "elasticsearch"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_no_more_rights_than_needed(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "cap_add", "network_mode"} & set(service)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("name", OURS)
def test_environment_and_flags_are_options_and_hold_no_secret(name: str) -> None:
    service = OURS[name]
    program = service["command"][0]
    command = next((key for key, value in COMMANDS.items() if value == program), "client")
    known = {option.variable: option for option in options(command)}
    assert set(service["environment"]) <= set(known)
    assert not any(known[variable].secret for variable in service["environment"])
    flags = [word for word in service["command"] if word.startswith("--")]
    assert command == "client" or {flag[2:] for flag in flags} <= {option.name for option in options(command)}
    files = {value for value in service["environment"].values() if str(value).startswith("/run/secrets/")}
    named = set(re.findall(r"/run/secrets/[\w-]+", " ".join(service["command"])))
    assert {f"/run/secrets/{secret}" for secret in service["secrets"]} == files | named
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])


def test_secrets_are_files() -> None:
    assert COMPOSE["secrets"] == {name: {"file": f"secrets/{name}"} for name in ("admin-pass", "fleet-pass", "zk-auth")}


def test_an_executor_has_longer_than_its_shutdown_timeout() -> None:
    executor = OURS["executor"]
    command = executor["command"]
    [default] = [option.default for option in OPTIONS if option.name == "shutdown-timeout"]
    assert float(command[command.index("--shutdown-timeout") + 1]) == default
    assert float(executor["stop_grace_period"].removesuffix("s")) >= default + 30


def test_only_servers_reach_elasticsearch() -> None:
    assert COMPOSE["networks"]["store"] == {"internal": True}
    inside = {name for name, service in COMPOSE["services"].items() if "store" in service["networks"]}
    assert inside == {"server-1", "server-2", "elasticsearch"}


@pytest.mark.parametrize("name", set(COMPOSE["services"]) - set(OURS))
def test_images_of_others_have_a_version(name: str) -> None:
    assert re.search(r":\d+(\.\d+)+$", COMPOSE["services"][name]["image"])


def test_the_image_is_of_pinned_wheels_and_runs_as_a_user_of_its_own() -> None:
    assert "--require-hashes -r /build/requirements.lock" in CONTAINERFILE
    installs = [line for line in CONTAINERFILE.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("--only-binary :all:" in line or "--no-index --no-deps" in line for line in installs)
    stage = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", stage, re.MULTILINE)
    for word in ("ENTRYPOINT", "CMD"):  # in the exec form, so that signals reach the command
        assert re.search(rf'^{word} \["', stage, re.MULTILINE)


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    lines = (TOP / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for line in CONTAINERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in shlex.split(line)[1:-1]
    }
    assert "*" in lines
    assert kept == {source.replace("geventjob-*", "*") for source in copied}
