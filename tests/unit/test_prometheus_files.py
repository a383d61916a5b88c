"""The files in conf/prometheus: alert rules with their unit tests, and a dashboard of metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from geventjob.executor.metrics import COUNTS, HELP, RunMetrics
from geventjob.metrics import HubLag, observe_batches, observe_queue
from geventjob.server.http.measured import Measured
from geventjob.server.watch.metrics import JobMetrics, observe_store

FOLDER = Path(__file__).parents[2] / "conf" / "prometheus"
FLEET = {"queue_entries", "queue_taken", "queue_oldest_seconds", "executors", "executor_slots", "leader"}
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"


def known() -> set[str]:
    registry = CollectorRegistry()
    for made in (JobMetrics, RunMetrics, HubLag, Measured, observe_store, observe_queue, observe_batches):
        made(registry)
    leases = ("server_lease_seconds", "distributor_lease_seconds", "distributor_leads")
    counts = (f"{name}_total" for name in COUNTS)
    names = {f"geventjob_{name}" for name in (*FLEET, *leases, *counts, *(f"executor_{name}" for name in HELP))}
    for metric in registry.collect():
        names |= {metric.name, f"{metric.name}_total", f"{metric.name}_bucket"}
    return names


@pytest.mark.parametrize(
    "what", [["check", "rules", "geventjob.rules.yml"], ["test", "rules", "geventjob.rules.test.yml"]]
)
def test_promtool_accepts_the_rules(what: list[str]) -> None:
    done = subprocess.run(["promtool", *what], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_a_test() -> None:
    rules = set(re.findall(r"- alert: (\w+)", (FOLDER / "geventjob.rules.yml").read_text()))
    assert rules == set(re.findall(r"alertname: (\w+)", (FOLDER / "geventjob.rules.test.yml").read_text()))


@pytest.mark.parametrize("file", ["geventjob.rules.yml", "geventjob.dashboard.json"])
def test_rules_and_dashboard_name_metrics_that_exist(file: str) -> None:
    text = (FOLDER / file).read_text()
    named = set(re.findall(r"\bgeventjob_[a-z_]+\b", text))
    assert named
    assert named - known() == set()


def test_the_dashboard_is_whole() -> None:
    board = json.loads((FOLDER / "geventjob.dashboard.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_the_page_names_each_metric() -> None:
    text = PAGE.read_text()
    names = {name.removesuffix("_total") for name in known() if not name.endswith("_bucket")}
    assert [name for name in sorted(names) if f"`{name}`" not in text and f"`{name}_total`" not in text] == []
