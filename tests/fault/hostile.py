"""Hostile actions that end their executor, or take long: `python -m tests.fault.hostile [action …]`, some minutes.

Each runs beside 200 jobs that behave, over executors that are started again when they end. Prints how each action
ended, and how many runs and executors it took; fails if a job beside fails.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from geventjob import Client
from geventjob.job.states import FINAL
from tests.fault.test_hostile_actions import ACTIONS
from tests.support.fleet import Fleet, Process, ended, fleet, until

INNOCENTS = 200
INTERRUPTIONS = 5
SESSION = ("--session-timeout", "2")
KILLERS = (
    "leaves_at_once_greenlet",
    "breaks_memory_greenlet",
    "leaves_the_stack_greenlet",
    "closes_everything_greenlet",
    "waits_in_c_greenlet",
    "never_leaves_c_greenlet",
    "computes_and_swallows_greenlet",
    "talks_greenlet",
    "never_leaves_c_process",
    "computes_and_swallows_process",
    "ends_its_fork_server_process",
    "talks_process",
)


def kept_alive(made: Fleet, alive: list[Process]) -> Process:
    """Return the executor, started again if it has ended."""
    if not alive or not alive[-1].running:
        limit = ("--max-interruptions", str(INTERRUPTIONS), "--max-body=1m", "--log-jobs=failed")
        alive.append(made.start_executor(f"life-{len(made.processes)}", *SESSION, *limit))
    return alive[-1]


def final(client: Client, ids: list[str]) -> bool:
    return client.search("job", filter=f"id='{ids[0]}'")["jobs"][0]["state"] in FINAL and not client.queue()["entries"]


def judged(made: Fleet, action: str) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Run an action beside the innocents; return its job, theirs, and the number of executors that it took."""
    client, alive = made.client(), list[Process]()
    end = made.folder / f"end-{action}"
    payload = {"file": str(end), "megabytes": 100, "size": 50_000_000}
    hostile = client.submit(action, payload, timeout=600 if "talks" in action else 5)
    beside = [id for id in client.bulk_add([{"action": "well_behaved_greenlet"}] * INNOCENTS) if isinstance(id, str)]

    def over() -> bool:
        kept_alive(made, alive)
        return final(client, [hostile])

    until(over, 900, every=0.2)
    jobs = ended(client, [hostile, *beside])
    end.touch()
    assert alive[-1].stop(60) == 0
    return jobs[hostile], [jobs[id] for id in beside], len(alive)


def main(actions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, fleet(Path(folder)) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server(*SESSION)
        for action in actions or KILLERS:
            since = time.monotonic()
            job, beside, executors = judged(made, action)
            said = job.get("statusMessage", "")[:160]
            print(f"{action}: {job['state']} after {job['attempts']} runs, {executors} executors: {said}")
            ends = Counter((one["state"], one["interruptions"]) for one in beside)
            print(f"    beside: {dict(ends)}, {time.monotonic() - since:.0f} s", flush=True)
            assert {one["state"] for one in beside} == {"SUCCESS"}


if __name__ == "__main__":
    main(sys.argv[1:])
