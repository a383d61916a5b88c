"""Folders and files that other users may write to, and their refusal."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob import ownership
from geventjob.coordination.base import CoordinationError
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.isolated import isolated
from geventjob.ownership import Unsafe, check_code, fault, open_private, private_folder
from geventjob.plugins import PluginError, find_actions, find_distributors
from geventjob.server.store import open_store
from geventjob.server.store.base import StoreError
from geventjob.server.store.sqlite import SqliteStore

US = os.geteuid()


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("bits", "said"), [(0o700, None), (0o755, None), (0o777, "everybody may write"), (0o1777, "everybody may write")]
)
def test_a_folder_that_everybody_may_write_to_has_a_fault(tmp_path: Path, bits: int, said: str | None) -> None:
    tmp_path.chmod(bits)
    found = fault(tmp_path, owners=(US,))
    assert found is None if said is None else found and found.startswith(said)


def test_somebody_elses_folder_has_a_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert fault(tmp_path, owners=(US,)) is None
    assert (fault(tmp_path, owners=(US + 4321,)) or "").startswith("belongs to ")


@pytest.mark.parametrize(
    ("name", "members", "private"),
    [("me", [], True), ("me", ["me"], True), ("me", ["you"], False), ("staff", [], False), (None, [], False)],
)
def test_a_group_counts_unless_it_is_the_owners_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, members: list[str], private: bool
) -> None:
    def group(number: int) -> grp.struct_group:
        if name is None:
            raise KeyError(number)
        return grp.struct_group((name, "x", number, members))

    gid = tmp_path.stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("me", "x", uid, gid, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", group)
    tmp_path.chmod(0o770)
    assert (fault(tmp_path, owners=(US,)) is None) is private


# --- the data folder


def test_a_data_folder_is_made_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    assert mode(private_folder(tmp_path / "a")) & 0o077 == 0


def test_a_data_folder_that_others_may_write_to_is_refused_by_all_who_use_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    coordination = SqliteCoordination(str(tmp_path / "coordination.db"), "me", 1.0)
    with pytest.raises(CoordinationError, match=f"--data-dir: {tmp_path}: everybody may write to it"):
        coordination.start()
    with pytest.raises(StoreError, match=f"--data-dir: {tmp_path}: everybody may write to it"):
        open_store(Namespace(data_dir=str(tmp_path), es_hosts_list=[]), print)
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: US + 4321)
    with pytest.raises(Unsafe, match="belongs to"):
        private_folder(tmp_path)


def test_files_of_queue_and_store_are_their_owners_alone_at_any_umask(tmp_path: Path, umask: int) -> None:
    folder = private_folder(tmp_path / "data")
    folder.chmod(0o700)
    coordination = SqliteCoordination(str(folder / "coordination.db"), "me", 5.0)
    coordination.start()
    store = SqliteStore(folder / "store.db")
    store.start()
    try:
        coordination.put([("job/a", 1)])
        assert {path.name: oct(mode(path)) for path in folder.iterdir() if mode(path) != 0o600} == {}
        assert len(list(folder.iterdir())) >= 9  # two files with lock, -wal and -shm each, and a FIFO
    finally:
        store.close()
        coordination.close()


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "coordination.db.lock"
    file.touch(0o644)
    os.close(open_private(file))
    assert mode(file) == 0o600


# --- actions and distributors


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir(0o755)
    (folder / "mine.py").write_text("raise SystemExit('it was run')\n")
    (folder / "mine.py").chmod(0o644)
    return folder


@pytest.mark.parametrize("find", [find_actions, find_distributors])
@pytest.mark.parametrize("what", [".", "mine.py"])
def test_code_that_others_may_change_is_not_run(plugins: Path, find, what: str) -> None:  # type: ignore[no-untyped-def]
    assert find([str(plugins)]).failures  # it is run
    path = plugins / what
    path.chmod(0o777)
    with pytest.raises(PluginError, match=f"^{path}: everybody may write to it.*--allow-unsafe-plugins"):
        find([str(plugins)])
    assert find([str(plugins)], unsafe=True).failures


def test_code_of_root_and_of_ours_is_trusted_and_no_other(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: US + 4321)
    monkeypatch.setattr(ownership, "ROOT", US)
    check_code(plugins)
    monkeypatch.setattr(ownership, "ROOT", US + 1)
    with pytest.raises(Unsafe, match=f"{plugins}: belongs to"):
        check_code(plugins)


def test_the_folder_that_a_link_leads_to_counts(plugins: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.py").write_text("")
    (plugins / "near.py").symlink_to(elsewhere / "far.py")
    check_code(plugins)
    elsewhere.chmod(0o777)
    with pytest.raises(Unsafe, match=f"{elsewhere}: everybody"):
        check_code(plugins)


def test_files_in_folders_of_the_folder_count(plugins: Path) -> None:
    (plugins / "parts").mkdir(0o755)
    (plugins / "parts" / "helper.py").write_text("")
    check_code(plugins)
    (plugins / "parts" / "helper.py").chmod(0o666)
    with pytest.raises(Unsafe, match=f"{plugins}/parts/helper.py: everybody"):
        check_code(plugins)


# --- commands that start others


def test_a_command_that_is_started_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "configargparse.py").write_text("print('from the current folder')\n")
    command = isolated("geventjob.cli.server", "--version")
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.startswith("geventjob "), command[0]) == (0, True, sys.executable)
