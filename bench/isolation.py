"""`python -m bench.isolation`: start and whole run of an action in a greenlet and in a warm process, in turn."""

import geventjob.patch  # noqa: F401, I001  (before any other import)

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any, cast

from rich.console import Console

from bench.engine import Row, table
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Session
from geventjob.executor.context import ExecutorContext
from geventjob.executor.ending import Returned
from geventjob.executor.job import Job
from geventjob.executor.limits import JobLimits
from geventjob.executor.running import running_in
from geventjob.executor.watch import Watch
from geventjob.executor.workers.pool import Workers
from geventjob.executor.workers.run import ApartRun
from geventjob.plugins import ActionSpec, find_actions
from gevent import getcurrent

ACTION = """
from geventjob import action
from geventjob.clock import boottime

@action("here")
def here(job):
    return {"began": boottime()}

@action("apart", isolation="process")
def apart(job):
    return {"began": boottime()}
"""
DOCUMENT = {"id": "job/measured", "state": "RUNNING", "action": "here", "payload": {"text": "x" * 1000}}


class Runs:
    """Runs actions under a watch, without server and queue."""

    def __init__(self, folder: Path) -> None:
        (folder / "measured.py").write_text(ACTION)
        self._actions = find_actions([str(folder)], unsafe=True)
        limits = JobLimits(max_jobs_per_process=10**6)
        self._workers = Workers({}, dict, limits, 10, lost=lambda: None)
        self._workers.renew(self._actions)
        self._watch = Watch()

    def run(self, name: str) -> tuple[float, float]:
        """Return the milliseconds until the action began, and until it ended."""
        spec = self._actions.get(name)
        assert spec
        job = Job(DOCUMENT, lambda attributes: DOCUMENT, cast(Any, None))
        claim = Claim("/job/entries/entry-999-1", job.id, 1, 0.0, Session("bench", math.inf, math.inf))
        since = boottime()
        ending = self._watch.run(
            self._code(spec, job), claim=claim, job_id=job.id, action=name, timeout=60, abandoned=lambda _: None
        )
        assert isinstance(ending, Returned), ending
        return 1e3 * (ending.value["began"] - since), 1e3 * (boottime() - since)

    def _code(self, spec: ActionSpec, job: Job) -> Callable[[], Any]:
        def code() -> Any:
            if not spec.isolation:
                return spec.instance(ExecutorContext(cast(Any, None), None), job)()
            running = running_in(getcurrent())
            assert running
            return ApartRun(self._workers, spec, job, running, self._watch.register.limit).value()

        return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs of each kind")
    count = parser.parse_args().runs
    found: dict[str, list[tuple[float, float]]] = {"here": [], "apart": []}
    cpu = dict.fromkeys(found, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        cold = runs.run("apart")[1]
        for _ in range(count):
            for name, times in found.items():
                before = process_time()
                times.append(runs.run(name))
                cpu[name] += process_time() - before
    rows: list[Row] = []
    for what, column in (("until it begins", 0), ("until it has ended", 1)):
        for percent in (50, 99):
            here, apart = (
                statistics.quantiles([each[column] for each in times], n=100)[percent - 1] for times in found.values()
            )
            rows.append(
                lambda what=what, percent=percent, here=here, apart=apart: [
                    f"{what}, p{percent}, ms", f"{here:.3f}", f"{apart:.3f}", f"{apart / here:.0f}"
                ]
            )  # fmt: skip
    one, other = (1e3 * seconds / count for seconds in cpu.values())
    rows.append(lambda: ["CPU of the executor, ms", f"{one:.3f}", f"{other:.3f}", f"{other / one:.1f}"])
    title = f"{count:,} runs of each; the first process began in {cold:.0f} ms, with the fork server"
    table(Console(width=120), title, ("what", "greenlet", "process", "ratio"), rows)


if __name__ == "__main__":
    main()
