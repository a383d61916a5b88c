"""Two thousand jobs of every outcome (tests/actions/mixed.py), and the expected end of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geventjob import Client

ACTIONS = Path(__file__).parents[1] / "actions" / "mixed.py"


@dataclass
class Kind:
    """Jobs of one sort, and how each of them must end."""

    name: str
    count: int
    job: dict[str, Any]
    state: str
    expected: dict[str, Any] = field(default_factory=dict)
    stop_when: str | None = None
    """The state in which it is stopped."""


def kind(name: str, count: int, action: str, payload: dict[str, Any], state: str, **more: Any) -> Kind:
    job = {"action": action, "payload": payload, **more.pop("job", {})}
    return Kind(name, count, job, state, more.pop("expected", {}), more.pop("stop_when", None))


KINDS = [
    kind("success", 890, "succeeds", {"seconds": 0.01}, "SUCCESS", expected={"returnCode": 0, "progress": 100}),
    kind("return code", 200, "answers", {"code": 3}, "FAILED", expected={"returnCode": 3}),
    kind("negative code", 50, "answers", {"code": -1}, "FAILED", expected={"returnCode": -1}),
    kind(
        "no code",
        20,
        "answers",
        {"code": "x"},
        "FAILED",
        expected={"statusMessage": "TypeError: the action returned str, expected an int, a dict, a list or None"},
    ),
    kind("raises", 200, "raises", {"text": "no"}, "FAILED", expected={"statusMessage": "RuntimeError: no"}),
    kind(
        "says that it is lost",
        10,
        "claims_to_be_lost",
        {},
        "FAILED",
        expected={"statusMessage": "JobLost: raised by the action itself"},
    ),
    kind("unknown action", 20, "nobody_knows_it", {}, "FAILED"),
    kind(
        "timeout while waiting",
        100,
        "waits",
        {"seconds": 600},
        "FAILED",
        job={"timeout": 0.5},
        expected={"statusMessage": "timed out after 0.5 s"},
    ),
    kind(
        "timeout while computing",
        15,
        "computes",
        {"seconds": 600},
        "FAILED",
        job={"timeout": 0.4},
        expected={"statusMessage": "timed out after 0.4 s"},
    ),
    kind(
        "swallowed timeout",
        20,
        "swallows",
        {"seconds": 2},
        "FAILED",
        job={"timeout": 0.3},
        expected={"statusMessage": "timed out after 0.3 s"},
    ),
    # Waits: the stop wins also over an executor that was faster than the client, and has the job already.
    kind("stopped while queued", 50, "waits", {"seconds": 600}, "STOPPED", stop_when="QUEUED"),
    kind("stopped while waiting", 40, "waits", {"seconds": 600}, "STOPPED", stop_when="RUNNING"),
    kind("stopped while computing", 5, "computes", {"seconds": 600}, "STOPPED", stop_when="RUNNING"),
    kind(
        "tells",
        100,
        "tells",
        {},
        "SUCCESS",
        expected={"statusMessage": "all told", "returnCode": 7, "progress": 100},
    ),
    kind("leaves greenlets", 80, "leaves", {}, "SUCCESS"),
    kind("spawns greenlets", 100, "spawns", {}, "SUCCESS"),
    kind("computes a little", 40, "computes", {"seconds": 0.05}, "SUCCESS"),
    kind(
        "old class",
        60,
        "old_style",
        {},
        "SUCCESS",
        job={"targetResource": {"href": "vm/one"}},
        expected={"statusMessage": "target vm/one"},
    ),
]


class Mixed:
    """All of them, from the add on."""

    def __init__(self, client: Client, share: float = 1.0) -> None:
        """Add the jobs, and at once stop the jobs that must stop while queued. `share`: part of the 2,000."""
        self.client = client
        kinds = [each for each in KINDS for _ in range(math.ceil(share * each.count))]
        ids = client.bulk_add([each.job for each in kinds])
        self.kinds = {id: each for id, each in zip(ids, kinds, strict=True) if isinstance(id, str)}
        assert len(self.kinds) == len(kinds)
        self._stop([id for id, each in self.kinds.items() if each.stop_when == "QUEUED"])
        self._to_stop = {id for id, each in self.kinds.items() if each.stop_when == "RUNNING"}

    def stop_running(self) -> bool:
        """Stop all running jobs of the kinds that must stop while running; return whether none is left."""
        running = self.client.search("job", filter="state='RUNNING'", select="id")["jobs"]
        now = self._to_stop & {job["id"] for job in running}
        self._stop(now)
        self._to_stop -= now
        return not self._to_stop

    def _stop(self, ids: Collection[str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda id: self.client.operation(id, "stop"), ids))

    def check(self, jobs: dict[str, dict[str, Any]], actions_dir: Path) -> None:
        """Check that each of these final jobs is as expected."""
        wrong = Counter(filter(None, (mismatch(job, self.kinds[id]) for id, job in jobs.items())))
        assert not wrong
        told = next(job for id, job in jobs.items() if self.kinds[id].name == "tells")
        assert [resource["href"] for resource in told["affectedResources"]] == ["disk/one", "disk/two"]
        unknown = next(job for id, job in jobs.items() if self.kinds[id].name == "unknown action")
        assert "'nobody_knows_it'" in unknown["statusMessage"]
        assert str(actions_dir) in unknown["statusMessage"]
        assert {job["attempts"] for id, job in jobs.items() if self.kinds[id].name == "success"} == {1}


def mismatch(job: dict[str, Any], kind: Kind) -> str:
    """Return the differences from the expected job in words; empty if there are none."""
    expected = {"state": kind.state, **kind.expected}
    wrong = ", ".join(f"{k} is {job.get(k)!r}, not {v!r}" for k, v in expected.items() if job.get(k) != v)
    return wrong and f"{kind.name}: {wrong}"
