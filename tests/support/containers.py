"""The image, made by buildah upon a Debian of its own, and services of compose.yaml as containers of runc. Needs root.

No registry is asked. runc is the runtime below Docker and Podman. Containers share the network of the host here, where
services have free ports of 127.0.0.1 in place of names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE = "localhost/geventjob"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NAMESPACES = ("pid", "ipc", "uts", "mount")
USUAL = ("CAP_CHOWN", "CAP_NET_RAW", "CAP_SETUID")
"""Some of the capabilities that a container may get without `cap_drop`."""
MOUNTS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
)


def missing() -> str | None:
    """Return why no containers run here; None if they can."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [tool for tool in ("buildah", "runc") if shutil.which(tool) is None]
    return f"needs {' and '.join(lacking)}" if lacking else None


def run(*command: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


class Image:
    """The image of `make image`: its files in `root`, and its configuration."""

    def __init__(self, folder: Path, archive: Path) -> None:
        """Build the image upon a Debian in a tar archive, in a storage of its own."""
        self._buildah = ["buildah", "--storage-driver=vfs", f"--root={folder}/storage", f"--runroot={folder}/run"]
        base = self._run("from", "scratch")
        self._run("add", "--quiet", base, archive, "/")
        self._run("commit", "--quiet", base, BASE)
        self._run("rm", base)
        self._make(folder)
        self.root = Path(self._run("mount", self._run("from", "--pull=never", IMAGE)))
        self.config: dict[str, Any] = json.loads(self._run("inspect", "--type=image", IMAGE))["OCIv1"]["config"]

    def _make(self, folder: Path) -> None:
        """Run `make image`. pip trusts the certificates of the host, as behind a proxy that inspects TLS."""
        settings = folder / "pip.conf"
        settings.write_text("[global]\ncert = /etc/host.crt\n")
        volumes = f"--volume={settings}:/etc/pip.conf:ro --volume={CERTIFICATES}:/etc/host.crt:ro"
        arguments = f"--isolation=chroot --pull=never {volumes}"
        run("make", "image", f"BUILDER={' '.join(self._buildah)}", f"ARGS={arguments}", cwd=TOP)

    def _run(self, *arguments: str | Path) -> str:
        return run(*self._buildah, *arguments).stdout.strip()

    def remove(self) -> None:
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")


class Container:
    """A service of compose.yaml, or another command in its place, as a process of runc."""

    def __init__(
        self, image: Image, folder: Path, name: str, service: Mapping[str, Any], secrets: Path, *command: str
    ) -> None:
        """Start the container; `folder` gets its log and its data."""
        self.name = f"geventjob-{os.getpid()}-{name}-{folder.name}"
        self._runc = ["runc", f"--root={folder.parent}/runc"]
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        user, group = map(int, image.config["User"].split(":"))
        os.chown(self.data, user, group)
        self.data.chmod(0o700)
        spec = self._specification(image, name, service, secrets, command or service["command"])
        (folder / "config.json").write_text(json.dumps(spec))
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", f"--bundle={folder}", self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _specification(
        self, image: Image, name: str, service: Mapping[str, Any], secrets: Path, command: Any
    ) -> dict[str, Any]:
        """Return the configuration of runc (OCI Runtime Specification) for what the image and the service say."""
        user, group = map(int, image.config["User"].split(":"))
        environment = [*image.config["Env"], *(f"{key}={value}" for key, value in service["environment"].items())]
        binds = [(path, self.data, ["rbind", "rw"]) for path in image.config["Volumes"]]
        binds += [(f"/run/secrets/{each}", secrets / each, ["bind", "ro"]) for each in service["secrets"]]
        mounts = [*MOUNTS, *((path, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777"]) for path in service["tmpfs"])]
        process: dict[str, Any] = {
            "args": [*image.config["Entrypoint"], *command],
            "cwd": image.config.get("WorkingDir") or "/",
            "env": environment,
            "user": {"uid": user, "gid": group},
            "capabilities": {} if "ALL" in service["cap_drop"] else {"bounding": list(USUAL)},
            "noNewPrivileges": "no-new-privileges:true" in service["security_opt"],
        }
        return {
            "ociVersion": "1.0.2",
            "hostname": name,
            "root": {"path": str(image.root), "readonly": service["read_only"]},
            "process": process,
            "mounts": [
                *({"destination": at, "type": kind, "source": of, "options": how} for at, kind, of, how in mounts),
                *({"destination": at, "source": str(of), "options": how} for at, of, how in binds),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
        }

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return run(*self._runc, "exec", self.name, *command, check=False)

    def processes(self) -> list[Path]:
        """Return the folders in /proc of all processes in the container, its first one first."""
        listed = json.loads(run(*self._runc, "ps", "--format=json", self.name).stdout)
        return [Path(f"/proc/{pid}") for pid in sorted(listed)]

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end; return the exit code."""
        return self._process.wait(seconds)

    def terminate(self) -> None:
        """Send SIGTERM to the first process, as `docker stop`."""
        run(*self._runc, "kill", self.name, "TERM")

    def remove(self) -> None:
        run(*self._runc, "delete", "--force", self.name, check=False)
        self._process.wait(30)
