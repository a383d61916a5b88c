"""Control groups of workers. Few kernels of test machines have the controllers of cgroup v2 free, so files stand in
for the kernel where the controllers are needed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from geventjob.executor.workers.groups import Groups, may_use, own_group
from tests.support.fleet import until

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a folder that stands in for a group that was delegated."""
    folder = tmp_path / "top"
    folder.mkdir()
    (folder / "cgroup.procs").touch()
    (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    return folder


@pytest.fixture
def real() -> Iterator[Path]:
    """Yield a new group of the kernel."""
    mount = next((Path(each) for each in MOUNTS if Path(each, "cgroup.controllers").exists()), None)
    if mount is None or not os.access(mount, os.W_OK):
        pytest.skip("needs a writable cgroup v2")
    folder = mount / f"geventjob-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    for each in (folder / "executor", folder):
        if each.exists():
            until(lambda each=each: "populated 0" in (each / "cgroup.events").read_text())
            each.rmdir()


def test_a_group_bounds_memory_and_tasks(top: Path) -> None:
    folder = Groups(top).make(3, 1 << 29)
    assert folder is not None
    assert folder == top / f"worker-{os.getpid()}-3"
    values = {file.name: file.read_text() for file in folder.iterdir()}
    assert values == {
        "pids.max": "4096", "memory.max": "536870912", "memory.swap.max": "0", "memory.oom.group": "1"
    }  # fmt: skip
    unbounded = Groups(top).make(4, None)
    assert unbounded is not None
    assert not (unbounded / "memory.max").exists()
    assert Groups(top / "gone").make(5, None) is None


def test_the_end_tells_what_was_used(top: Path) -> None:
    groups = Groups(top)
    folder = groups.make(1, None)
    assert folder is not None
    assert groups.end(1, 7, 0.5) == (7, 0.5, False), "as the process tells, where the kernel does not"
    folder.mkdir(exist_ok=True)
    (folder / "memory.peak").write_text("1234\n")
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (folder / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert groups.end(1, 7, 0.5) == (1234, 2.5, True)
    assert (folder / "cgroup.kill").read_text() == "1"


def test_a_group_that_was_not_delegated_is_left_alone(top: Path) -> None:
    assert may_use(top) == (os.geteuid() != 0), "of another user than root, the owner tells"
    (top / "cgroup.controllers").write_text("cpu pids\n")
    assert not may_use(top)
    assert own_group() is None or own_group() != Path("/")


def test_the_kernel_ends_all_of_a_group(real: Path) -> None:
    """Without controllers, which the kernel may have lent to cgroup v1."""
    groups = Groups(real)
    first = subprocess.Popen(["sleep", "600"])
    (real / "cgroup.procs").write_text(str(first.pid))
    groups.prepare("")
    assert (real / "executor" / "cgroup.procs").read_text().split() == [str(first.pid)]
    folder = real / f"worker-{os.getpid()}-1"
    folder.mkdir()
    second = subprocess.Popen(["sh", "-c", "read line; setsid sleep 600 & echo; wait"], stdin=PIPE, stdout=PIPE)
    assert second.stdin
    assert second.stdout
    (folder / "cgroup.procs").write_text(str(second.pid))
    second.stdin.write(b"\n")
    second.stdin.close()
    second.stdout.readline()
    assert len((folder / "cgroup.procs").read_text().split()) == 2
    assert groups.end(1, 7, 0.5)[0] == 7
    assert second.wait() == -signal.SIGKILL
    second.stdout.close()
    until(lambda: groups.remove() or not folder.exists())
    first.kill()
    first.wait()
