"""The RPM in a root of its own: what it requires and provides, and its commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.packages.conftest import Packages
from tests.support.machine import unpack

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


def rpm(*arguments: str | Path, check: bool = True) -> str:
    done = subprocess.run(["rpm", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rpm") / "root"
    unpack(archive, made)
    return made


@pytest.fixture(scope="module")
def provider(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a package that provides what the RPM requires, as a distribution does."""
    folder = tmp_path_factory.mktemp("provider")
    required = rpm("-qp", "--requires", packages.rpm[0]).split("\n")
    wanted = sorted({line.split()[0] for line in required if line and not line.startswith("rpmlib")})
    (folder / "provider.spec").write_text(PROVIDER.format(provides=" ".join(wanted)))
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", str(folder / "provider.spec")]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.rglob("*.rpm"))


def test_it_requires_one_python_and_provides_itself_alone(packages: Packages) -> None:
    required = {line.split()[0] for line in rpm("-qp", "--requires", packages.rpm[0]).splitlines()}
    assert {name for name in required if "python" in name} == {"/usr/bin/python3.11"}
    assert not any("tmp" in name or "work" in name for name in required)
    provided = {line.split()[0] for line in rpm("-qp", "--provides", packages.rpm[0]).splitlines()}
    assert {name.partition("(")[0] for name in provided} == {"slipstream-job"}
    assert ".build-id" not in rpm("-qlp", packages.rpm[0])


def test_it_installs_with_dependencies_checked_and_keeps_files_on_upgrade(
    packages: Packages, root: Path, provider: Path
) -> None:
    first, second = packages.rpm
    assert "/usr/bin/python3.11 is needed" in rpm("--root", root, "-i", first, check=False)
    rpm("--root", root, "-i", provider, first)
    for command in ("geventjob", "geventjob-executor", "geventjob-distributor", "geventjob-server"):
        told = subprocess.check_output(["chroot", str(root), command, "--version"], text=True)
        assert told.startswith("geventjob ")
    assert "slipstream" in (root / "etc/passwd").read_text()
    ini = root / "etc/slipstream/executor.ini"
    ini.write_text("threads = 8\n")
    rpm("--root", root, "-U", second)
    assert ini.read_text() == "threads = 8\n"
    assert rpm("--root", root, "-q", "slipstream-job").startswith("slipstream-job-1.1")
    assert rpm("--root", root, "-V", "slipstream-job", check=False).splitlines() == [
        "S.5....T.  c /etc/slipstream/executor.ini"
    ]
    rpm("--root", root, "-e", "slipstream-job")
    assert not (root / "opt/slipstream/job/bin").exists()


def test_no_file_of_the_product_differs_from_its_record(packages: Packages, root: Path, provider: Path) -> None:
    """Nothing was stripped or compiled anew behind pip's back."""
    rpm("--root", root, "-i", "--replacepkgs", packages.rpm[1])
    subprocess.run(["chroot", str(root), "/opt/slipstream/job/bin/python", "-c", DIFFER], check=True)
