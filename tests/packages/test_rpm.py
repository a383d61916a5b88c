"""The RPM: what it requires and provides, and the engine from it on a machine with a real systemd."""

from __future__ import annotations

import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages.conftest import TOP, Packages
from tests.packages.installed import COMMANDS, DATA, PYTHON, UNITS, Installed, copied, installed
from tests.support.machine import machine

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
def provider(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a package that provides what the RPM requires, as a distribution does."""
    folder = tmp_path_factory.mktemp("provider")
    required = query("--requires", packages.rpm[0]).split("\n")
    wanted = sorted({line.split()[0] for line in required if line and not line.startswith("rpmlib")})
    (folder / "provider.spec").write_text(PROVIDER.format(provides=" ".join(wanted)))
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", str(folder / "provider.spec")]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.rglob("*.rpm"))


@pytest.fixture(scope="module")
def site(
    archive: Path, packages: Packages, provider: Path, zookeeper: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """Install the package, which is refused without its dependencies."""
    with machine(archive, tmp_path_factory.mktemp("machine") / "rpm") as made:
        package = copied(made, packages.rpm[0])
        assert f"{PYTHON} is needed" in made.run("rpm", "-i", package, check=False)
        made.run("rpm", "-i", copied(made, provider), package)
        with installed(made, zookeeper) as site:
            yield site


def test_it_requires_one_python_and_provides_itself_alone(packages: Packages) -> None:
    required = {line.split()[0] for line in query("--requires", packages.rpm[0]).splitlines()}
    assert {name for name in required if "python" in name} == {PYTHON}
    assert not any("tmp" in name or "work" in name for name in required)
    provided = {line.split()[0] for line in query("--provides", packages.rpm[0]).splitlines()}
    assert {name.partition("(")[0] for name in provided} == {"slipstream-job"}
    assert ".build-id" not in query("-l", packages.rpm[0])
    assert query("--queryformat", "%{BUILDHOST}", packages.rpm[0]) == "localhost"


def test_no_file_names_the_place_of_the_build_and_all_commands_run(site: Installed) -> None:
    """Builds happen in folders that mktemp names."""
    files = site.machine.run("rpm", "-ql", "slipstream-job")
    assert "/opt/slipstream/job/pyvenv.cfg" in files.splitlines()
    search = ["xargs", "-d", "\\n", "grep", "-lsE", "-e", f"{TOP}|/tmp/tmp\\.[A-Za-z0-9]{{10}}"]
    assert site.machine.run(*search, check=False, input=files) == ""
    for command in COMMANDS:
        assert site.machine.run(command, "--version").startswith("geventjob ")


def test_the_lines_of_the_manual_bring_up_the_engine(site: Installed) -> None:
    site.start()
    site.works()


def test_an_upgrade_restarts_the_units_and_keeps_changed_files(site: Installed, packages: Packages) -> None:
    """No file of the product differs from its RECORD: nothing was stripped or compiled anew behind pip's back."""
    machine, old = site.machine, site.processes()
    machine.run("rpm", "-U", copied(machine, packages.rpm[1]))
    assert site.active() == [*UNITS]
    assert not old & site.processes()
    assert machine.run("rpm", "-q", "slipstream-job").splitlines()[-1].startswith("slipstream-job-1.1")
    assert f"--port={site.port}" in machine.path("/etc/default/slipstream-job-server").read_text()
    changed = machine.run("rpm", "-V", "slipstream-job", check=False).splitlines()
    changed = [line.split()[-1] for line in changed if line.startswith(("S", "..5"))]
    assert changed == [f"/etc/default/slipstream-job-{name}" for name in ("distributor", "executor", "server")]
    machine.run("/opt/slipstream/job/bin/python", "-c", DIFFER)


def test_removal_stops_the_units_and_keeps_data(site: Installed) -> None:
    site.machine.run("rpm", "-e", "slipstream-job")
    assert site.active() == []
    assert not site.machine.path("/opt/slipstream/job/bin").exists()
    assert site.machine.path(f"{DATA}/admin-pass").exists()


FAILING_GENERATOR = """
%define _use_internal_dependency_generator 0
%define __find_requires {generator}
Name: generated
Version: 1
Release: 1
Summary: A package whose generator of requirements fails
License: Apache-2.0
BuildArch: noarch
%description
For a test.
%install
mkdir -p %{{buildroot}}/usr/share/generated && touch %{{buildroot}}/usr/share/generated/file
%files
/usr/share/generated
"""


def test_a_generator_that_fails_ends_the_build(tmp_path: Path) -> None:
    """For rpmbuild itself, a generator that fails is no error: it exits with 0, and writes the package."""
    generator = tmp_path / "generator"
    generator.write_text(
        "#!/bin/sh\ncat >/dev/null\necho 'Traceback (most recent call last): no generator' >&2\nexit 1\n"
    )
    generator.chmod(0o755)  # it reads its input: otherwise rpmbuild may end by SIGPIPE
    spec = tmp_path / "generated.spec"
    spec.write_text(FAILING_GENERATOR.format(generator=generator))
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}/alone", str(spec)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    ours = runpy.run_path(str(TOP / "package" / "rpm.py"))
    with pytest.raises(SystemExit, match="rpmbuild failed"):
        ours["build"](spec, tmp_path / "ours")
