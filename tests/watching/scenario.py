"""Runs a scenario in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def run(name: str, *args: str, code: int = 0, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.watching", name, *args], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == code, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def answer(name: str, *args: str) -> Any:
    """What the scenario found; it must have ended well."""
    return json.loads(run(name, *args).stdout)
