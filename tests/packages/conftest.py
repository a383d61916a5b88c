"""The packages in two versions of one content, and the Debian to install them on; both are made side by side."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.machine import debian, refusal
from tests.support.zookeeper import Ensemble, running

TOP = Path(__file__).parents[2]
VERSIONS = ("1.0", "1.1")


class Packages(NamedTuple):
    """Two versions of each package, the older one first."""

    deb: list[Path]
    rpm: list[Path]


def built(folder: Path) -> Packages:
    """Build the packages."""
    command = [str(TOP / "package" / "build"), "deb rpm", str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "VERSION": " ".join(VERSIONS)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    deb = [next(folder.glob(f"*_{version}_*.deb")) for version in VERSIONS]
    return Packages(deb, [next(folder.glob(f"*-{version}-*.rpm")) for version in VERSIONS])


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    if reason := refusal():
        pytest.skip(f"the packages are not tested here: {reason}")


@pytest.fixture(scope="session")
def _archive(_possible: None) -> Future[Path]:
    """Begin to make a Debian while the packages are built."""
    return ThreadPoolExecutor().submit(debian)


@pytest.fixture(scope="session")
def packages(_archive: Future[Path], tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def archive(_archive: Future[Path]) -> Path:
    """Return a minimal Debian, as a tar archive."""
    return _archive.result()


@pytest.fixture(scope="session")
def zookeeper(_possible: None) -> Iterator[str]:
    """Yield the address of a ZooKeeper beside the machines."""
    with running(Ensemble()) as ensemble:
        yield ensemble.hosts
