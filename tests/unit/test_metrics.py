"""Metrics of jobs, bounded labels, and the port of executors and distributors."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import requests
from prometheus_client import CollectorRegistry

from geventjob import metrics
from geventjob.batch import Batcher
from geventjob.clock import boottime
from geventjob.coordination.base import Session
from geventjob.coordination.measured import CALLS, measure
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.executor.engine import ExecutorEngine
from geventjob.executor.metrics import COUNTS, HELP, ExecutorFigures
from geventjob.metrics import OTHER, BoundedLabel
from geventjob.metrics_port import MetricsPort
from geventjob.scheduling.metrics import DistributorFigures
from geventjob.server.store.watched import Written
from geventjob.server.watch.metrics import JobMetrics

NEW = {"id": "job/1", "action": "x", "state": "QUEUED", "created": "2026-01-01T00:00:00.000Z"}
RUNNING = {**NEW, "state": "RUNNING", "started": "2026-01-01T00:00:02.000Z", "updated": "2026-01-01T00:00:02.000Z"}
FAILED = {**RUNNING, "state": "FAILED", "updated": "2026-01-01T00:00:05.000Z"}
HELD = {**NEW, "started": "2026-01-01T00:00:02.000Z", "retried": 1, "held": {"why": "retry"}}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_the_life_of_a_job_is_counted(registry: CollectorRegistry) -> None:
    JobMetrics(registry).note(
        [
            Written(None, NEW),
            Written(NEW, RUNNING),
            Written(RUNNING, HELD),
            Written(HELD, {**NEW, "started": HELD["started"], "retried": 1}),
            Written({**RUNNING, "retried": 1}, {**RUNNING, "retried": 1, "interruptions": 1}),
            Written(RUNNING, FAILED),
            Written(FAILED, {**FAILED, "name": "edited"}),
            Written(FAILED, None),
        ]
    )
    for name, labels, value in (
        ("jobs_added_total", {"action": "x"}, 1),
        ("jobs_ended_total", {"action": "x", "outcome": "failed"}, 1),
        ("jobs_retried_total", {"action": "x"}, 1),
        ("jobs_interrupted_total", {"action": "x"}, 1),
        ("jobs_held_total", {"why": "retry"}, 1),
        ("jobs_promoted_total", {}, 1),
        ("job_waiting_seconds_sum", {}, 2),
        ("job_running_seconds_sum", {}, 3),
        ("job_running_seconds_count", {}, 1),
    ):
        assert registry.get_sample_value(f"geventjob_{name}", labels) == value, name


def test_actions_beyond_the_bound_share_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_VALUES", 2)
    label = BoundedLabel()
    assert [label(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


class Working:
    """An engine with figures and counts."""

    def figures(self) -> dict[str, float]:
        return dict.fromkeys(HELP, 1.0)

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(COUNTS, 7)


def test_what_an_executor_has_done_is_counted(registry: CollectorRegistry) -> None:
    registry.register(ExecutorFigures(lambda: cast(ExecutorEngine, Working())))
    for name in ("takes", "take_collisions", "slices"):
        assert registry.get_sample_value(f"geventjob_{name}_total") == 7


def test_a_lease_is_what_is_left(registry: CollectorRegistry) -> None:
    session = Session("s", 10.0, boottime() + 1000)
    registry.register(DistributorFigures(dict, lambda: session))
    name = "geventjob_distributor_lease_seconds"
    assert 0 < (registry.get_sample_value(name) or 0) <= 1000
    session.end()
    assert registry.get_sample_value(name) == 0


def test_the_batches_with_a_name_are_measured(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "measure", metrics.observe_batches(registry))
    named: Batcher[int, int] = Batcher(list, name="adds")
    nameless: Batcher[int, int] = Batcher(list)
    for answer in [*map(named.submit, range(3)), *map(nameless.submit, range(3))]:
        answer.get()
    assert registry.get_sample_value("geventjob_batch_items_sum", {"batch": "adds"}) == 3
    assert registry.get_sample_value("geventjob_batch_items_sum", {"batch": ""}) is None


def test_calls_of_the_queue_are_measured(registry: CollectorRegistry, tmp_path: Path) -> None:
    queue = SqliteCoordination(str(tmp_path / "coordination.db"), "one", 10)
    measure(queue, metrics.observe_queue(registry))
    queue.start()
    try:
        queue.put([("job/1", 5)])
        queue.consume(queue.take(1, timeout=5))
        with pytest.raises(ValueError, match="priority"):
            queue.put([("job/1", 5_000)])
    finally:
        queue.close()
    counts = {call: registry.get_sample_value("geventjob_queue_seconds_count", {"call": call}) for call in CALLS}
    assert {call: count for call, count in counts.items() if count} == {"put": 1, "consume": 1}


def test_promtool_finds_no_fault(registry: CollectorRegistry) -> None:
    JobMetrics(registry).note([Written(None, NEW), Written(NEW, RUNNING), Written(RUNNING, FAILED)])
    metrics.HubLag(registry)
    metrics.observe_queue(registry)("put", 0.1)
    metrics.observe_batches(registry)("adds", 3)
    registry.register(DistributorFigures(lambda: {"nightly": True}, lambda: Session("s", 10.0)))
    registry.register(ExecutorFigures(lambda: cast(ExecutorEngine, Working())))
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics.text(registry), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- the port


class Readiness:
    why: str | None = None


@pytest.fixture
def ready() -> Readiness:
    return Readiness()


@contextlib.contextmanager
def serving(ready: Readiness, token: str | None) -> Iterator[str]:
    port = MetricsPort(("127.0.0.1", 0), CollectorRegistry(), lambda: ready.why, token)
    port.start()
    try:
        yield f"http://127.0.0.1:{port.port}"
    finally:
        port.close()


@pytest.fixture
def url(ready: Readiness) -> Iterator[str]:
    with serving(ready, None) as found:
        yield found


def test_health_and_readiness(url: str, ready: Readiness) -> None:
    assert requests.get(f"{url}/healthz", timeout=5).text == "ok"
    assert requests.get(f"{url}/readyz", timeout=5).status_code == 200
    ready.why = "the queue is out of reach"
    answer = requests.get(f"{url}/readyz", timeout=5)
    assert (answer.status_code, answer.text) == (503, "the queue is out of reach")
    assert requests.get(f"{url}/healthz", timeout=5).status_code == 200


def test_other_requests_are_refused(url: str) -> None:
    assert requests.get(f"{url}/", timeout=5).status_code == 404
    assert requests.post(f"{url}/metrics", data=b"x", timeout=5).status_code == 405


def test_metrics_are_open_on_this_machine(url: str) -> None:
    answer = requests.get(f"{url}/metrics", timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("header", "status"), [("Bearer secret", 200), ("Bearer other", 403), ("secret", 403), ("", 403)]
)
def test_with_a_token_only_its_owner_reads(ready: Readiness, header: str, status: int) -> None:
    with serving(ready, "secret") as url:
        assert requests.get(f"{url}/metrics", headers={"Authorization": header}, timeout=5).status_code == status
        assert requests.get(f"{url}/healthz", timeout=5).status_code == 200


def test_a_port_in_use_is_an_error_that_names_the_option(url: str, ready: Readiness) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"--metrics-port: cannot listen on 127.0.0.1:{port}: Address already in use"):
        MetricsPort(("127.0.0.1", port), CollectorRegistry(), lambda: ready.why)
