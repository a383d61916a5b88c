"""`geventjob` as a process, with one command line after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Cli:
    """Runs `geventjob`, finding the server by its data folder alone."""

    def __init__(self, data_dir: Path | None, **environ: str) -> None:
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("GEVENTJOB_")}
        self.environ |= environ | ({"GEVENTJOB_DATA_DIR": str(data_dir)} if data_dir else {})
        self.command = [str(Path(sys.executable).parent / "geventjob")]

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments], input=stdin, capture_output=True, text=True, timeout=60, env=self.environ
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def wrong(self, *arguments: str, code: int = 2) -> str:
        """Return the only line on stderr."""
        done = self(*arguments, code=code)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert not done.stdout
        return lines[0]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.command, *arguments], stdout=pipe, stderr=pipe, text=True, env=self.environ)
