"""Look for known vulnerabilities in the installed packages: `make audit`.

pip-audit asks the public database of vulnerabilities. Where the network does not reach the database,
`tools/known-vulnerabilities` alone counts, and the last line says so. Exit code 1 when a vulnerability is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[1]
PLACE = TOP / ".venv" / "audit"
TEST = ["-m", "tests", "-q", "tests/unit/test_dependencies.py"]


def ask() -> list[dict[str, Any]]:
    """Return what pip-audit says of each installed package; nothing where it cannot be had or cannot ask."""
    if not (PLACE / "bin" / "pip-audit").exists():
        venv.create(PLACE, with_pip=True)
        got = subprocess.run([PLACE / "bin" / "pip", "install", "--quiet", "pip-audit"], check=False)  # noqa: S603
        if got.returncode:
            return []
    command: list[str | Path] = [
        PLACE / "bin" / "pip-audit",
        "--path",
        sysconfig.get_path("purelib"),
        "--format",
        "json",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        found: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except ValueError:
        return []
    return [package for package in found if "skip_reason" not in package]


def main() -> int:
    """Run the test that keeps the list, then ask; print what was found."""
    code = subprocess.run([sys.executable, *TEST], cwd=TOP, check=False).returncode  # noqa: S603
    answers = ask()
    for package in answers:
        for known in package["vulns"]:
            print(f"{package['name']} {package['version']}: {known['id']}, fixed in {known['fix_versions']}")
            code = 1
    nothing = "pip-audit could not ask: tools/known-vulnerabilities alone counts"
    print(f"audit: {len(answers)} packages checked" if answers else f"audit: {nothing}")
    return code


if __name__ == "__main__":
    sys.exit(main())
