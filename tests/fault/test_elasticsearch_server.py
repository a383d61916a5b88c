"""A server over Elasticsearch, started, killed and started at an address where no store is."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support import elasticsearch
from tests.support.fleet import PASSWORD, fleet
from tests.support.job_server import Caller


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
