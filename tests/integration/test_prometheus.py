"""A real Prometheus scrapes a server, an executor and a distributor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.fleet import PASSWORD, Fleet, until
from tests.support.ports import free_port

TOKEN = "a token of tests"


def test_a_real_prometheus_scrapes_all_three_kinds_of_process(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    fleet = Fleet(tmp_path)
    ports = [free_port() for _ in range(3)]
    options = [["--metrics-port", str(port), "--metrics-token-file", str(token)] for port in ports[:2]]
    prometheus = None
    try:
        fleet.server("--metrics-token-file", str(token))
        fleet.executor("e", *options[0])
        fleet.distributor("d", "jobs_cleanup", *options[1])
        fleet.await_nodes("d")
        client = fleet.client()
        client.wait(client.submit("dummy_test_action", {}), timeout=30)
        prometheus = scraping(tmp_path, [fleet.port, *ports[:2]], ports[2], token)
        until(lambda: {value(ports[2], f'up{{instance=~".*:{port}"}}') for port in (fleet.port, *ports[:2])} == {1.0})
        for query in (
            'geventjob_jobs_ended_total{action="dummy_test_action",outcome="success"}',
            'geventjob_runs_ended_total{action="dummy_test_action",outcome="success"}',
            "geventjob_executors",
            'geventjob_distributor_leads{distributor="jobs_cleanup"}',
            "geventjob_executor_reaches_server",
            'geventjob_leader{election="promoter"}',
        ):
            until(lambda query=query: value(ports[2], query) == 1.0)
        assert value(ports[2], "geventjob_hub_lag_seconds") is not None
        for query in (
            'geventjob_store_seconds_count{call="write"}',
            'geventjob_queue_seconds_count{call="put"}',
            'geventjob_queue_seconds_count{call="consume"}',
            'geventjob_batch_items_count{batch="adds"}',
            'geventjob_batch_items_count{batch="edits"}',
            "geventjob_takes_total",
            "geventjob_server_lease_seconds",
            "geventjob_distributor_lease_seconds",
        ):
            until(lambda query=query: (value(ports[2], query) or 0) > 0)
        for port in (fleet.port, *ports[:2]):
            lint(port)
        refused(fleet.url)
        for port in ports[:2]:
            assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).text == "ok"
    finally:
        if prometheus is not None:
            prometheus.kill()
            prometheus.wait()
        fleet.close()


def scraping(folder: Path, targets: list[int], port: int, token: Path) -> subprocess.Popen[bytes]:
    """Start a Prometheus that scrapes these ports each second."""
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "geventjob",
                "authorization": {"credentials_file": str(token)},
                "static_configs": [{"targets": [f"127.0.0.1:{each}" for each in targets]}],
            }
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log:
        return subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
            ],
            stdout=log,
            stderr=log,
        )


def value(port: int, query: str) -> float | None:
    """Return the value of a query in Prometheus; None while there is none."""
    try:
        answer: Any = requests.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, timeout=5).json()
    except requests.RequestException:
        return None
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def lint(port: int) -> None:
    """Have promtool check the metrics of a process."""
    text = requests.get(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5
    ).text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def refused(url: str) -> None:
    """See who reads the metrics of a server with a token: its owner and administrators."""
    assert requests.get(f"{url}/metrics", timeout=5).status_code == 403
    assert requests.get(f"{url}/metrics", headers={"Authorization": "Bearer nonsense"}, timeout=5).status_code == 403
    session = requests.Session()
    template = {"href": "session-template/internal", "username": "super", "password": PASSWORD}
    assert session.post(f"{url}/api/session", json={"sessionTemplate": template}, timeout=5).status_code == 201
    assert "geventjob_http_requests_total" in session.get(f"{url}/metrics", timeout=5).text
    assert requests.get(f"{url}/readyz", timeout=5).text == "ok"
