"""The wheel and the source distribution, installed. Needs a package index; only `make test-release` runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import until

TOP = Path(__file__).parents[2]
DEMO = ["up", "--demo", "--port", "0"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both files, and return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([str(TOP / "package/wheel"), str(folder)], env={**os.environ, "PYTHON": sys.executable}, check=True)
    return folder


def environment(folder: Path, *installed: str) -> Path:
    """Make a virtual environment with these requirements, and return its folder of commands."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([str(folder / "bin/pip"), "install", *quiet, *installed], check=True)
    return folder / "bin"


def runs_the_demo(command: list[str], folder: Path) -> None:
    """Run `geventjob up --demo` with data below `folder`, until its jobs have their outcomes; end it by SIGTERM."""
    log = folder / "log"
    environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PIPX_HOME": str(folder / "pipx")}
    with log.open("wb") as out:
        up = subprocess.Popen(
            [*command, *DEMO], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        until(lambda: "the engine stays up until Ctrl-C" in log.read_text() or up.poll() is not None, 300)
        assert up.poll() is None, log.read_text()
        rows = [line.replace("│", " ").split() for line in log.read_text().splitlines()]
        assert ["80", "sleep", "SUCCESS"] in rows
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    finally:
        up.kill()
        up.wait()


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_what_pip_has_installed_runs_the_demo(files: Path, tmp_path: Path, kind: str) -> None:
    [file] = files.glob(kind)
    commands = environment(tmp_path / "venv", str(file))
    runs_the_demo([str(commands / "geventjob")], tmp_path)


def test_pipx_runs_the_demo(files: Path, tmp_path: Path) -> None:
    [wheel] = files.glob("*.whl")
    commands = environment(tmp_path / "venv", "pipx")
    runs_the_demo([str(commands / "pipx"), "run", "--spec", str(wheel), "geventjob"], tmp_path)
