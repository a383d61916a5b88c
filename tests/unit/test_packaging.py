"""The published packages are complete, and the scripts behind `make` work."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
MADE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
KINDS = (".py", ".lark", ".typed", ".html", ".css", ".js")
SOURCES = {f.relative_to(TOP).as_posix() for f in TOP.glob("geventjob/**/*") if f.suffix in KINDS}
SOURCES |= {f.relative_to(TOP).as_posix() for f in TOP.glob("slipstream/**/*.py")}
SHIPPED = {f"{kind}/{f.name}" for kind in ("actions", "distributors") for f in (TOP / kind).glob("*.py")}


def built(folder: Path, umask: int) -> Path:
    """Build the source distribution and the wheel of a clean copy, which is made with this umask."""
    shutil.copytree(TOP, folder / "tree", ignore=MADE)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHON": sys.executable}
    command = [str(folder / "tree/package/wheel"), str(folder)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Build the source distribution of a clean copy, and a wheel of the distribution."""
    return built(tmp_path_factory.mktemp("dist"), 0o022)


@pytest.fixture(scope="module")
def installed(dist: Any) -> Any:
    """Unpack the wheel as into site-packages, and return the folder."""
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(dist / "site")
    return dist / "site"


def test_a_second_build_in_another_place_gives_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    """The copy is newer, and the group and others may not read its files."""
    again = built(tmp_path, 0o077)
    for kind in ("*.whl", "*.tar.gz"):
        [first], [second] = dist.glob(kind), again.glob(kind)
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


def test_the_wheel_holds_every_module_and_grammar(installed: Any) -> None:
    names = {f.relative_to(installed).as_posix() for f in installed.rglob("*") if f.is_file()}
    assert {"geventjob/py.typed", "geventjob/server/filter/grammar.lark", "geventjob/server/page/main.js"} <= SOURCES
    assert names >= SOURCES | {f"geventjob/{name}" for name in SHIPPED}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"geventjob", "slipstream"}
    assert "slipstream/job/actions/__init__.py" in names
    assert "slipstream/__init__.py" not in names, "it is a namespace, and slipstream-api lies in it too"


def test_the_source_distribution_holds_the_project(dist: Any) -> None:
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "pyproject.toml", "setup.py", "conf/executor.ini"}
    wanted |= {"CONTRIBUTING.md", "examples/README.md", "findings/README.md", "docs/conf.py"}
    assert names >= SOURCES | SHIPPED | wanted | {"tests/unit/test_packaging.py", "docs/reference/options.md"}


@pytest.mark.parametrize("repository", ["", "https://example.org/team/geventjob"])
def test_the_description_outside_the_repository_has_no_broken_link(dist: Path, tmp_path: Path, repository: str) -> None:
    code = f"import setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel({str(tmp_path)!r}))"
    environ = {**os.environ, "GEVENTJOB_REPOSITORY": repository}
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=dist / "tree", env=environ, capture_output=True, check=True, timeout=60)
    [metadata] = tmp_path.glob("*.dist-info/METADATA")
    fields = message_from_string(metadata.read_text())
    described = str(fields.get_payload())
    assert described.startswith("# geventjob\n")
    links = re.findall(r"\]\(([^)]+)\)", described)
    urls = dict(url.split(", ") for url in fields.get_all("Project-URL", []))
    if repository:
        assert f"{repository}/blob/HEAD/docs/tutorial.md" in links
        assert all(link.startswith("https://") for link in links)
        assert urls["Source"] == repository
    else:
        assert links == []
        assert urls == {}


def test_what_is_installed_finds_what_is_shipped(installed: Any, tmp_path: Path) -> None:
    code = """if True:
        import geventjob, geventjob.server.filter
        from geventjob.plugins import find_actions, find_distributors
        print(geventjob.__file__)
        for found in (find_actions(), find_distributors()):
            print(sorted({found.get(name).source for name in found.names}), found.failures)
    """
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    run = [sys.executable, "-c", code]
    ran = subprocess.run(run, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True, timeout=60)
    package, *found = ran.stdout.splitlines()
    assert package == str(installed / "geventjob/__init__.py")
    for kind, line in zip(("actions", "distributors"), found, strict=True):
        files = sorted(str(installed / f"geventjob/{name}") for name in SHIPPED if name.startswith(f"{kind}/"))
        assert line == f"{[file for file in files if not file.endswith('__init__.py')]} {{}}"


def test_what_is_installed_shares_its_namespace(installed: Any, tmp_path: Path) -> None:
    """`slipstream-api` lies in another folder here, and in the same folder once both are installed."""
    code = "import slipstream.api, slipstream.job.actions as job; print(job.__file__, slipstream.api.__file__)"
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    run = [sys.executable, "-c", code]
    ran = subprocess.run(run, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True, timeout=60)
    job, api = map(Path, ran.stdout.split())
    assert job == installed / "slipstream/job/actions/__init__.py"
    assert installed not in api.parents


@pytest.mark.parametrize("name", ["geventjob", "geventjob-executor", "geventjob-distributor", "geventjob-server"])
def test_each_command_starts_and_helps(name: Any) -> None:
    """Starts the command in a new process, as the wheel's script does."""
    [point] = [point for point in entry_points(group="console_scripts") if point.name == name]
    start = f"import sys; from {point.module} import {point.attr} as main; sys.argv[0] = {name!r}; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", start, "--help"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"usage: {name} ")


def test_bare_make_lists_the_targets() -> None:
    ran = subprocess.run(["make", "-C", str(TOP)], capture_output=True, text=True, check=True, timeout=60)
    targets = {line.split()[1] for line in ran.stdout.splitlines() if line.startswith("make ")}
    assert targets >= {"run", "test", "check", "bench", "docs", "dist", "clean"}
    for target in targets:
        subprocess.run(["make", "-C", str(TOP), "--dry-run", target], capture_output=True, check=True, timeout=60)


def test_every_unit_on_a_page_spares_the_programs_of_actions_and_stops_at_wrong_usage() -> None:
    units = [
        (page.name, unit)
        for page in sorted((TOP / "docs").rglob("*.md"))
        for unit in re.findall(r"^\[Service\]\n(.*?)^\[Install\]", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert len(units) >= 2
    for line in ("KillMode=mixed", "RestartPreventExitStatus=2", "Restart=always"):
        assert [page for page, unit in units if line not in unit.splitlines()] == []


FINDING_SCRIPTS = [str(script.relative_to(TOP)) for script in sorted((TOP / "findings").glob("*.sh"))]


@pytest.mark.parametrize("script", FINDING_SCRIPTS)
def test_a_finding_parses_pins_its_packages_and_says_what_was_seen(script: str) -> None:
    text = (TOP / script).read_text()
    subprocess.run(["bash", "-n", str(TOP / script)], check=True, timeout=60)
    assert re.match(r"#!/usr/bin/env bash\n(#.*\n)+set -euo pipefail\n", text)
    assert re.search(r"^# Seen", text, re.MULTILINE)
    installed = re.findall(r'pip" install --quiet --disable-pip-version-check (.*)', text)
    assert all("==" in package for line in installed for package in line.split())


@pytest.mark.parametrize("script", [".ci/run", "tools/prepare"])
def test_the_scripts_can_be_run(script: Any) -> None:
    assert os.access(TOP / script, os.X_OK)
    subprocess.run(["bash", "-n", str(TOP / script)], check=True, timeout=60)


@pytest.fixture
def bare_machine(tmp_path: Path) -> Any:
    """Return a function that runs `tools/prepare` without apt-get and most other programs."""
    shutil.copytree(TOP / "tools", tmp_path / "tools")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "id"):
        (tools / tool).symlink_to(shutil.which(tool) or "")

    def run(what: Any, python: Any) -> Any:
        return subprocess.run(
            [str(tmp_path / "tools/prepare"), what],
            cwd=tmp_path,
            env={"PATH": str(tools), "PYTHON": python},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_a_python_that_is_old_or_cannot_make_environments_is_passed_over(bare_machine: Any, tmp_path: Path) -> None:
    """The good interpreter is real, without the ten seconds that a real environment takes."""
    made = tmp_path / ".venv/bin/python"
    for name, code in (
        ("old", "exit 1"),
        ("bare", '[ "$2" != "import ensurepip, venv" ]'),
        ("good", f'[ "$1" = -c ] && exec {sys.executable} "$@"; [ "$*" = "-m venv --clear .venv" ] && > {made}'),
    ):
        (tmp_path / "bin" / name).write_text(f"#!{tmp_path}/bin/bash\n{code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    made.parent.mkdir(parents=True)
    ran = bare_machine("venv", "missing old bare good")
    assert (ran.returncode, ran.stdout, ran.stderr, made.exists()) == (0, "", "", True)
    made.unlink()
    made.symlink_to(sys.executable)  # an environment that works is left as it is
    assert bare_machine("venv", "good").returncode == 0
    assert made.is_symlink()


def test_what_is_missing_where_it_cannot_be_installed_is_said(bare_machine: Any) -> None:
    said = [bare_machine(what, "none").stderr.partition(": ")[2] for what in ("venv", "tests")]
    assert said[0] == "please install what Debian calls: python3 python3-venv\n"
    assert said[1].startswith("please install what Debian calls: default-jre-headless maven openssl util-linux")
