"""Build the Debian package from the tree: `python package/deb.py --tree ROOT --version 0.1.0 --out dist`."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = "slipstream-job"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CONTROL = """Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: The geventjob developers <maintainers@geventjob.invalid>
Installed-Size: {size}
Depends: {python}, {library}, passwd
Section: admin
Priority: optional
Description: distributed job engine for work that mostly waits
 Job server, executors and distributors of geventjob, in an environment of their
 own below /opt/slipstream/job. The units have the names of SlipStream's job
 engine, whose flags and ZooKeeper layout they share.
"""
SCRIPTS = {
    "postinst": """
if [ "$1" = configure ]; then
    add_user
    chgrp slipstream /etc/slipstream /etc/slipstream/*.ini
    restart_units
fi
""",
    "prerm": """
if [ "$1" = remove ]; then stop_units; fi
""",
    "postrm": """
if [ "$1" = purge ]; then purge; fi
if has_systemd; then systemctl daemon-reload; fi
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    debian = args.tree / "DEBIAN"
    debian.mkdir()
    try:
        describe(args.tree, debian, args.version)
        args.out.mkdir(exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(args.tree), str(args.out)]
        subprocess.run(command, check=True)  # noqa: S603
    finally:
        shutil.rmtree(debian)


def describe(tree: Path, debian: Path, version: str) -> None:
    """Write control, conffiles and the maintainer scripts."""
    python = os.readlink(tree / "opt/slipstream/job/bin/python").rpartition("/")[2]
    size = sum(path.lstat().st_size for path in tree.rglob("*") if not path.is_dir()) // 1024
    control = CONTROL.format(
        name=NAME,
        version=version,
        architecture=ARCHITECTURES[platform.machine()],
        size=size,
        python=python,
        library=f"lib{python}-stdlib",
    )
    (debian / "control").write_text(control)
    kept = sorted(path for path in (tree / "etc").rglob("*") if path.is_file())
    (debian / "conffiles").write_text("".join(f"/{path.relative_to(tree)}\n" for path in kept))
    functions = (PACKAGE / "scripts.sh").read_text()
    for name, body in SCRIPTS.items():
        script = debian / name
        script.write_text(f"#!/bin/sh\nset -e\n{functions}{body}exit 0\n")
        script.chmod(0o755)


if __name__ == "__main__":
    main()
