"""The queue's data are lost altogether: the store has the jobs, and puts them back (DESIGN §5.3)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.fleet import ended, fleet, until

ACTIONS = Path(__file__).parent.parent / "actions" / "faults.py"


def test_every_job_that_is_not_final_runs_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        server = made.server()
        executor = made.executor("first", "--threads", "5", "--session-timeout", "2")
        job = {"action": "noted", "payload": {"file": str(notes), "seconds": 0.3}}
        ids = [str(id) for id in made.client().bulk_add([job] * 60)]
        until(lambda: made.client().search("job", filter="state='SUCCESS'", last=0)["count"] >= 5)
        executor.kill()
        server.kill()
        for file in made.data_dir.glob("coordination.db*"):
            file.unlink()

        made.server()
        login = ["--ss-url", made.url, "--ss-user", "super", "--ss-pass-file", str(made.password_file)]
        command = [sys.executable, "-m", "geventjob.cli.main", *login, "queue", "reconcile", "--json"]
        did = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        unfinished = made.client().search("job", filter="state='QUEUED' or state='RUNNING'", last=0)["count"]
        assert did["jobs"] == unfinished
        assert made.client().queue()["entries"] == unfinished

        made.executor("second")
        jobs = ended(made.client(), ids)
        assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
        begun = Counter(line.split()[1] for line in notes.read_text().splitlines() if line.endswith("begin"))
        assert all(begun[id] == job["attempts"] for id, job in jobs.items())
        assert sum(job["interruptions"] for job in jobs.values()) <= 5
