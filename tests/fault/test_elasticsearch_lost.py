"""Elasticsearch goes away while jobs run: requests end in time, and no outcome is lost."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

from tests.support import elasticsearch
from tests.support.fleet import PASSWORD, ended, fleet, until
from tests.support.job_server import Caller, problem
from tests.support.noted import ACTIONS, Notes, add

IN_TIME = 8.0
"""Seconds: the store gives up after four, and the machine may be busy."""


def test_executors_keep_their_outcomes_and_go_on_by_themselves(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    with elasticsearch.running(elasticsearch.Cluster()) as cluster, fleet(tmp_path) as made:
        [node] = cluster.nodes
        shutil.copy(ACTIONS, made.actions_dir)
        made.server("--es-hosts-list", node.host)
        made.executor("first", "--threads", "10")
        notes.close("first")
        ids = add(made.client(), notes, 30, "gated")
        until(lambda: notes.count("begin") == 10)
        session = Caller(made.url)
        assert session.login("super", PASSWORD).status_code == 201
        key = {"action": "noted", "idempotencyKey": "once", "payload": {"file": str(notes.path), "seconds": 0}}

        node.kill()
        notes.open("first")
        for method, path, body in [("POST", "job", key), ("GET", ids[0], None), ("PUT", "job", None)]:
            began = time.monotonic()
            answer = session(method, path, json=body)
            assert time.monotonic() - began < IN_TIME
            problem(answer, 503, "the store is out of reach: Elasticsearch at")
            assert int(answer.headers["Retry-After"]) > 0
        health = session.get("/healthz")
        assert (health.status_code, "Elasticsearch" in health.text) == (503, True)
        until(lambda: notes.count("end") == 10)  # their outcomes wait

        node.start()
        node.await_ready()
        until(lambda: session.get("/healthz").status_code == 200)
        until(lambda: session.post("job", key).status_code == 201)
        id = session.post("job", key).json()["resource-id"]
        jobs = ended(made.client(), [*ids, id])
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 31}
        assert {(job["attempts"], job["interruptions"]) for job in jobs.values()} == {(1, 0)}
        assert Counter(notes.jobs("end")) == Counter([*ids, id]), "each ran once"
        until(lambda: made.client().queue()["entries"] == 0)


def test_who_adds_a_job_finds_it_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    host, prefix = elasticsearch.shared(), f"t{tmp_path.name.replace('_', '')[-40:]}-{time.time_ns()}"
    with fleet(tmp_path) as made:
        keeping = ["--es-hosts-list", host, "--es-index-prefix", prefix]
        server = made.server(*keeping)
        session = Caller(made.url)
        assert session.login("super", PASSWORD).status_code == 201
        for number in range(1, 6):
            id = session.add(name=str(number))
            found = session.search("job", filter=f"name='{number}'", aggregation="terms:state")
            assert [job["id"] for job in found["jobs"]] == [id]
            assert session.search("job", last=0)["count"] == number
        assert session.bulk("delete", filter="name='1' or name='2'") == {"deleted": 2}
        assert session.search("job", last=0)["count"] == 3
        server.kill()
        made.server(*keeping)
        assert session.search("job", last=0)["count"] == 3, "the cookie is still good"
        assert not (made.data_dir / "store.db").exists()


def test_a_store_that_is_away_or_wrong_at_the_start_ends_the_server(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        away = made._start("server", ["--port", "0", "--es-hosts-list", "127.0.0.1:1"])
        assert away.wait(60) == 1
        assert "Elasticsearch at 127.0.0.1:1:" in away.log.splitlines()[-1]
        wrong = made._start(
            "server",
            ["--port", "0", "--es-hosts-list", "http://" + elasticsearch.shared().rpartition("/")[2] + "/nothing"],
        )
        assert wrong.wait(60) == 2
        [line] = wrong.log.splitlines()
        assert line == "geventjob-server: the server that answered is not Elasticsearch"
