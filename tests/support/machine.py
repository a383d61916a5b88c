"""A machine with a real systemd: Debian in a folder, booted by systemd-nspawn. Needs root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.cache import cached
from tests.support.fleet import until

NSPAWN = ("systemd-nspawn", "--register=no", "--keep-unit", "--console=pipe")
"""Works on a host with or without systemd, also in a container that may mount."""
HOLDS = "systemd,systemd-sysv,dbus,python3,passwd,rpm"
"""Debian's packages in the machine: systemd, what the package requires, and the program that installs an RPM."""
UNREAD = "doc", "locale", "man"
"""Folders of /usr/share that no test reads: a third of all files."""


def refusal() -> str | None:
    """Return why this host boots no machine, as a container without rights; None if a machine can be booted."""
    if os.geteuid() != 0:
        return "needs root"
    probe = [*NSPAWN, "--quiet", "--volatile=yes", f"--machine=probe-{os.getpid()}", "-D", "/", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"systemd-nspawn: {done.stderr.strip()}"


def debian() -> Path:
    """Return an archive of a minimal Debian, of the host's release and so with the Python of the packages.

    The first call takes half a minute, and the archive is kept: 230 MB in the user's cache folder.
    """
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    return cached(f"debian-{suite}-rpm.tar", lambda archive: _bootstrap(suite, archive))


def _bootstrap(suite: str, archive: Path) -> None:
    unread = " ".join(f'"$1/usr/share/{folder}"' for folder in UNREAD)
    options = ["--quiet", "--variant=apt", f"--include={HOLDS}", "--dpkgopt=force-unsafe-io"]
    options.append(f"--customize-hook=rm -r {unread}")
    done = subprocess.run(["mmdebstrap", *options, suite, str(archive)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"mmdebstrap: {done.stdout[-2000:]}{done.stderr[-4000:]}"


def unpack(archive: Path, root: Path) -> None:
    """Unpack a Debian into a new folder."""
    root.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--numeric-owner", f"--directory={root}", f"--file={archive}"], check=True)


class Machine:
    """A booted Debian. It shares the network of the host, but no process and no file."""

    def __init__(self, archive: Path, root: Path) -> None:
        unpack(archive, root)
        self.root = root
        self._log = root.with_suffix(".log").open("wb")
        command = ["setpriv", "--pdeathsig", "TERM", *NSPAWN, "--boot", f"--machine={root.name}", "-D", str(root)]
        self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
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

    def run(self, *command: str, check: bool = True, timeout: float = 120, input: str = "") -> str:
        """Return the output of a command in the machine."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "--", *command]
        done = subprocess.run(enter, input=input, capture_output=True, text=True, timeout=timeout, check=False)
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
def machine(archive: Path, root: Path) -> Iterator[Machine]:
    """Boot a machine, after the machines of other test runs: units of one name would share a control group."""
    with (Path(tempfile.gettempdir()) / "geventjob-machine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Machine(archive, root)
        try:
            yield made
        finally:
            made.close()
