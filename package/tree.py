"""Build the file tree of the packages: `python package/tree.py --wheel FILE --out ROOT [--python /usr/bin/python3.11]`.

The tree holds `/opt/slipstream/job`, a virtual environment with the product and all dependencies (hashes pinned in
`package/requirements.lock`), commands in `/usr/bin`, configuration, units, man pages and shell completion. No file
names the build folder.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import licences
import manual

TOP = Path(__file__).resolve().parents[1]
HOME = Path("opt/slipstream/job")
COMMANDS = ("geventjob", "geventjob-executor", "geventjob-distributor", "geventjob-server")
INI = ("executor", "distributor", "server")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True, help="the product's wheel")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tree; must not exist")
    parser.add_argument(
        "--python", default="/usr/bin/python3", help="interpreter on the target, e.g. /usr/bin/python3.11"
    )
    args = parser.parse_args()
    root = args.out.resolve()
    root.mkdir(parents=True)
    environment(root, interpreter(args.python), args.wheel.resolve())
    relocate(root)
    compiled(root)
    files(root)
    manual.write(root)
    write(root / "usr/share/doc/slipstream-job/copyright", licences.page(root / HOME))
    refuse_build_paths(root)


def interpreter(given: str) -> str:
    """Return the versioned path of this interpreter, e.g. /usr/bin/python3.11: packages depend on one version."""
    code = "import sys; print('%s/bin/python%d.%d' % (sys.base_prefix, *sys.version_info[:2]))"
    return subprocess.check_output([given, "-c", code], text=True).strip()  # noqa: S603


def environment(root: Path, python: str, wheel: Path) -> None:
    """Make the virtual environment, with the locked dependencies and the product."""
    home = root / HOME
    run(python, "-m", "venv", "--without-pip", "--symlinks", str(home))
    for name in ("python", "python3"):
        (home / "bin" / name).unlink(missing_ok=True)
        (home / "bin" / name).symlink_to(python)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]
    quiet = ["install", "--quiet", "--no-compile", "--no-deps"]
    locked = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(TOP / "package" / "requirements.lock")]
    run(*pip, *quiet, *locked)
    run(*pip, *quiet, "--no-index", str(wheel))


def relocate(root: Path) -> None:
    """Write the final place in the place of the build folder: shebangs and pyvenv.cfg; drop what cannot move."""
    home = root / HOME
    for script in [*(home / "bin").glob("activate*"), *(home / "bin").glob("Activate*")]:
        script.unlink()
    for file in [home / "pyvenv.cfg", *(path for path in (home / "bin").iterdir() if not path.is_symlink())]:
        text = file.read_text()
        file.write_text(text.replace(str(root), ""))
    config = home / "pyvenv.cfg"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("command")]
    config.write_text("\n".join(kept) + "\n")
    for direct_url in home.rglob("*.dist-info/direct_url.json"):  # the path of the wheel on the build machine
        direct_url.unlink()
    for record in home.rglob("*.dist-info/RECORD"):
        record.write_text(recorded(record))


def recorded(record: Path) -> str:
    """Return this RECORD with the hashes of the files as they are now, without files that are gone (PEP 376)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for name, digest, _ in csv.reader(record.read_text().splitlines()):
        file = record.parents[1] / name
        if not file.exists():
            continue
        if digest:
            data = file.read_bytes()
            sha256 = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            writer.writerow([name, f"sha256={sha256}", len(data)])
        else:
            writer.writerow([name, "", ""])
    return out.getvalue()


def compiled(root: Path) -> None:
    """Compile all modules; the bytecode names the final place and is not checked against the sources' times."""
    python = str(root / HOME / "bin" / "python")
    run(python, "-m", "compileall", "-q", "-s", str(root), "--invalidation-mode", "unchecked-hash", str(root / HOME))


def files(root: Path) -> None:
    """Add what lies outside the environment."""
    for command in COMMANDS:
        link(root / "usr/bin" / command, f"/{HOME}/bin/{command}")
    for name in INI:
        copy(TOP / "conf" / f"{name}.ini", root / "etc/slipstream" / f"{name}.ini", 0o640)
    for default in sorted((TOP / "package" / "default").iterdir()):
        copy(default, root / "etc/default" / default.name, 0o640)
    shutil.copytree(TOP / "package" / "units", root / "usr/lib/systemd/system", symlinks=True)
    copy(TOP / "package" / "logrotate", root / "usr/share/doc/slipstream-job/logrotate", 0o644)
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        copy(TOP / name, root / "usr/share/doc/slipstream-job" / name, 0o644)


def refuse_build_paths(root: Path) -> None:
    """End the build with an error if a file names the build folder."""
    needles = [str(root).encode(), str(TOP).encode()]
    named = [path for path in regular(root) if any(needle in path.read_bytes() for needle in needles)]
    if named:
        raise SystemExit("these files name the build folder: " + ", ".join(map(str, named[:10])))


def regular(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())


def copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(target: Path, text: str) -> None:
    target.write_text(text)
    target.chmod(0o644)


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # noqa: S603


if __name__ == "__main__":
    main()
