"""A machine with a real systemd: Debian in a folder, booted by systemd-nspawn. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.fleet import until


def debian(folder: Path) -> Path:
    """Return a minimal Debian with systemd and Python: $GEVENTJOB_TEST_DEBIAN, or one made in `folder` in a minute."""
    if given := os.environ.get("GEVENTJOB_TEST_DEBIAN"):
        return Path(given)
    packages = "--include=systemd,systemd-sysv,dbus,python3"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return folder


class Machine:
    """A booted copy of a Debian. It shares the network of the host, but no process and no file."""

    def __init__(self, base: Path, root: Path) -> None:
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
        self.root = root
        self._log = root.with_suffix(".log").open("wb")
        command = ["systemd-nspawn", "-D", str(root), "-b", "--register=no", "--keep-unit", "--console=pipe"]
        self._nspawn = subprocess.Popen(
            [*command, f"--machine={root.name}"], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self._leader = until(self._find_leader)
        until(lambda: self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"), 120)

    def _find_leader(self) -> int | None:
        """Return the process of the machine's systemd."""
        assert self._nspawn.poll() is None, self.root.with_suffix(".log").read_text(errors="replace")
        for task in Path(f"/proc/{self._nspawn.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
        return None

    def run(self, *command: str, check: bool = True, timeout: float = 120) -> str:
        """Return the output of a command in the machine."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "--", *command]
        done = subprocess.run(enter, capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def path(self, path: str) -> Path:
        """Return the place of one of the machine's files on the host."""
        return self.root / path.lstrip("/")

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit, as `ActiveState`."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def close(self) -> None:
        """Print the end of each log, for a test that failed; power the machine off at once, and delete it."""
        for log in sorted(self.path("/var/log/slipstream/log").glob("*.log")):
            print(f"== {log.name}\n{log.read_text(errors='replace')[-6000:]}")
        self._nspawn.kill()
        self._nspawn.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, 9)
        self._log.close()
        until(lambda: not Path(f"/proc/{self._leader}").exists())
        shutil.rmtree(self.root)


@contextlib.contextmanager
def machine(base: Path, root: Path) -> Iterator[Machine]:
    made = Machine(base, root)
    try:
        yield made
    finally:
        made.close()
