"""Build the RPM from the tree: `python package/rpm.py --tree ROOT --version 0.1.0 --out dist`.

rpmbuild's own ideas about a virtual environment are turned off, each with its reason in `SPEC`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = Path(__file__).resolve().parent
SPEC = """
# Links by build id collide between two packages with the same wheel.
%define _build_id_links none
# Stripping and byte-compiling anew would change files against their RECORD.
%define __os_install_post %{{nil}}
%define debug_package %{{nil}}
# Equal commits give equal files, and the file does not name the machine.
%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define _buildhost localhost
# The generators would require the interpreter below the build folder, and offer python3dist(requests) to the system.
AutoReqProv: no

Name: slipstream-job
Version: {version}
Release: 1
Summary: Distributed job engine for work that mostly waits
License: Apache-2.0
Requires: {python}
Requires(pre): shadow-utils

%description
Job server, executors and distributors of geventjob, in an environment of their own below /opt/slipstream/job. The
units have the names of SlipStream's job engine, whose flags and ZooKeeper layout they share.

%install
cp -a {tree}/. %{{buildroot}}/

%pre
{functions}
add_user
exit 0

%post
{functions}
if [ "$1" -gt 1 ]; then restart_units; elif has_systemd; then systemctl daemon-reload; fi
exit 0

%preun
{functions}
if [ "$1" = 0 ]; then stop_units; fi
exit 0

%postun
{functions}
if has_systemd; then systemctl daemon-reload; fi
exit 0

%files
%defattr(-,root,root)
%attr(0640,root,slipstream) %config(noreplace) /etc/slipstream/*.ini
%config(noreplace) /etc/default/slipstream-job-*
%attr(0755,root,slipstream) %dir /etc/slipstream
/opt/slipstream
/usr/bin/*
/usr/lib/systemd/system/*
/usr/share/*/*
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        spec = Path(folder) / "slipstream-job.spec"
        spec.write_text(described(args.tree.resolve(), args.version))
        build(spec, Path(folder))
        for made in Path(folder).rglob("*.rpm"):
            shutil.copy(made, args.out)
            print(args.out / made.name)


def described(tree: Path, version: str) -> str:
    """Return the text of the spec file."""
    return SPEC.format(
        version=version,
        tree=tree,
        python=os.readlink(tree / "opt/slipstream/job/bin/python"),
        functions=(PACKAGE / "scripts.sh").read_text().replace("%", "%%"),
    )


def build(spec: Path, folder: Path) -> None:
    """Run rpmbuild; what it writes to stderr ends the build, for a generator that fails is no error to rpmbuild."""
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", "--define", "_binary_payload w10.zstdio"]
    done = subprocess.run([*command, str(spec)], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or "Traceback" in done.stderr or "error:" in done.stderr:
        raise SystemExit(f"rpmbuild failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
