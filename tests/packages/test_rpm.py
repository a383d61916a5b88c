"""The RPM: what it requires and provides, and the engine from it on a machine with a real systemd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages.conftest import Packages
from tests.packages.installed import COMMANDS, DATA, PYTHON, copied
from tests.support.fleet import free_port
from tests.support.machine import Machine, machine

PROVIDER = """
Name: provider
Version: 1
Release: 1
Summary: What a distribution has
License: Apache-2.0
BuildArch: noarch
Provides: {provides}
%description
Stands for the packages of a distribution.
%files
"""

DIFFER = """
import base64, hashlib, sys
from importlib.metadata import distributions

def digest(file):
    return base64.urlsafe_b64encode(hashlib.sha256(file.locate().read_bytes()).digest()).rstrip(b"=").decode()

files = [file for found in distributions() for file in found.files or () if file.hash]
different = [str(file) for file in files if digest(file) != file.hash.value]
sys.exit(f"{len(files)} files, different: {different}" if different or not files else 0)
"""


def query(*arguments: str | Path) -> str:
    return subprocess.check_output(["rpm", "-qp", *map(str, arguments)], text=True)


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(archive, tmp_path_factory.mktemp("machine") / "rpm") as made:
        yield made


@pytest.fixture(scope="module")
def provider(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a package that provides what the RPM requires, as a distribution does."""
    folder = tmp_path_factory.mktemp("provider")
    required = query("--requires", packages.rpm[0]).split("\n")
    wanted = sorted({line.split()[0] for line in required if line and not line.startswith("rpmlib")})
    (folder / "provider.spec").write_text(PROVIDER.format(provides=" ".join(wanted)))
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", str(folder / "provider.spec")]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.rglob("*.rpm"))


def test_it_requires_one_python_and_provides_itself_alone(packages: Packages) -> None:
    required = {line.split()[0] for line in query("--requires", packages.rpm[0]).splitlines()}
    assert {name for name in required if "python" in name} == {PYTHON}
    assert not any("tmp" in name or "work" in name for name in required)
    provided = {line.split()[0] for line in query("--provides", packages.rpm[0]).splitlines()}
    assert {name.partition("(")[0] for name in provided} == {"slipstream-job"}
    assert ".build-id" not in query("-l", packages.rpm[0])
    assert query("--queryformat", "%{BUILDHOST}", packages.rpm[0]) == "localhost"


def test_it_installs_with_dependencies_checked_and_brings_up_the_engine(
    packages: Packages, made: Machine, provider: Path
) -> None:
    first = copied(made, packages.rpm[0])
    assert f"{PYTHON} is needed" in made.run("rpm", "-i", first, check=False)
    made.run("rpm", "-i", copied(made, provider), first)
    for command in COMMANDS:
        assert made.run(command, "--version").startswith("geventjob ")
    made.path("/etc/default/geventjob").write_text(f"DAEMON_ARGS='--port={free_port()}'\n")
    made.run("systemctl", "enable", "--now", "geventjob")
    client = f"{DATA}/client.ini"
    submitted = made.run("geventjob", "-c", client, "submit", "dummy_test_action", "--count", "100", "--wait")
    assert submitted.splitlines()[-1] == "100 jobs: 100 SUCCESS"


def test_an_upgrade_restarts_the_engine_and_keeps_changed_files(packages: Packages, made: Machine) -> None:
    """No file of the product differs from its RECORD: nothing was stripped or compiled anew behind pip's back."""
    ini = made.path("/etc/slipstream/executor.ini")
    ini.write_text("threads = 8\n")
    old = made.property("geventjob", "MainPID")
    made.run("rpm", "-U", copied(made, packages.rpm[1]))
    assert made.property("geventjob", "ActiveState") == "active"
    assert made.property("geventjob", "MainPID") != old
    assert ini.read_text() == "threads = 8\n"
    assert made.run("rpm", "-q", "slipstream-job").splitlines()[-1].startswith("slipstream-job-1.1")
    changed = made.run("rpm", "-V", "slipstream-job", check=False).splitlines()
    assert [line for line in changed if line.endswith("executor.ini")] == ["S.5....T.  c /etc/slipstream/executor.ini"]
    made.run("/opt/slipstream/job/bin/python", "-c", DIFFER)


def test_removal_stops_the_engine_and_keeps_data(made: Machine) -> None:
    made.run("rpm", "-e", "slipstream-job")
    assert made.property("geventjob", "ActiveState") == "inactive"
    assert not made.path("/opt/slipstream/job/bin").exists()
    assert made.path(f"{DATA}/client.ini").exists()
