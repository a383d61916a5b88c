"""An executor behind a real nginx with a small limit on bodies, before a geventjob and a SlipStream server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.errors import ServerAway
from tests.support.fleet import PASSWORD, Way, ended, fleet, until
from tests.support.nginx import nginx, running
from tests.support.ports import free_port
from tests.support.slipstream_fleet import job_ended, slipstream_fleet
from tests.support.zookeeper import Certificates, shared

TOP = Path(__file__).parents[2]

ACTIONS = """
import pathlib, time
from geventjob import action

@action("together")
def together(job):
    while not pathlib.Path(job.name).exists():
        time.sleep(0.05)

@action("talks")
def talks(job):
    job.set_status_message("m" * 30_000)

@action("fails_at_length")
def fails_at_length(job):
    raise RuntimeError("e" * 30_000)
"""


@pytest.mark.parametrize("options", [[], ["--max-body", "4k"]])
def test_sixty_outcomes_that_are_too_large_together_are_all_written(tmp_path: Path, options: list[str]) -> None:
    gate = tmp_path / "gate"
    with fleet(tmp_path) as made:
        (made.actions_dir / "some.py").write_text(ACTIONS)
        made.server()
        with nginx(tmp_path, made.port, "4k") as url:
            way = Way(url, "")
            executor = made.start_executor("one", "--threads", "100", *options, way=way)
            client = made.client()
            ids = [
                id for id in client.bulk_add([{"action": "together", "name": str(gate)}] * 60) if isinstance(id, str)
            ]
            until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == 60)
            gate.touch()
            jobs = ended(client, ids)
            long = [client.add("job", {"action": action}) for action in ("talks", "fails_at_length")]
            said, failed = (ended(client, long)[id] for id in long)
            log = next(tmp_path.glob("nginx-*/access.log")).read_text()
    assert {(job["state"], job["attempts"], job.get("statusMessage")) for job in jobs.values()} == {
        ("SUCCESS", 1, None)
    }
    assert (said["state"], said["statusMessage"][:3], said["statusMessage"][-6:]) == ("SUCCESS", "mmm", "erver)")
    assert (failed["state"], failed["statusMessage"][:15]) == ("FAILED", "RuntimeError: e")
    assert "a fault of the executor" not in executor.log
    tall = [line for line in log.splitlines() if " 413 " in line]
    assert len(tall) == 2 if options else len(tall) > 2


def test_before_slipstream_a_long_message_is_shortened(tmp_path: Path) -> None:
    with slipstream_fleet(tmp_path, shared().hosts) as made:
        (made.actions_dir / "some.py").write_text(ACTIONS)
        client = made.serve()
        with nginx(tmp_path, made.port, "4k") as url:
            made.executor("one", way=Way(url, made.zk_hosts))
            job = job_ended(client, client.add("job", {"action": "talks"}))
    assert (job["state"], job["statusMessage"][-6:]) == ("SUCCESS", "erver)")


def test_tls_as_deploy_md_sets_it_up(tmp_path: Path) -> None:
    (server,) = re.findall(r"```nginx\n(.*?)```", (TOP / "docs" / "deploy.md").read_text(), re.DOTALL)
    certificates = Certificates(tmp_path / "certificates")
    port = free_port()
    url, ca = f"https://127.0.0.1:{port}", str(certificates.ca)
    with fleet(tmp_path) as made:
        replacements = {
            "listen 8443": f"listen 127.0.0.1:{port}",
            "127.0.0.1:8200": f"127.0.0.1:{made.port}",
            "/etc/geventjob/server.pem": str(certificates.server),
            "/etc/geventjob/server.key": str(certificates.key(certificates.server)),
        }
        for before, after in replacements.items():
            assert server.count(before) == 1
            server = server.replace(before, after)
        made.server("--base-uri", url)
        client = Client(url, "super", PASSWORD, ca=ca)
        with running(tmp_path / "nginx", server, client.healthy):
            made.start_executor("one", "--ss-ca", ca, way=Way(url, ""))
            job = {"action": "dummy_test_action", "payload": {"seconds": 0}, "description": "d" * 1000}
            ids = [str(id) for id in client.bulk_add([job] * 1500)]  # above nginx's limit on bodies
            assert {job["state"] for job in ended(client, ids).values()} == {"SUCCESS"}
            distrusting = Client(url, "super", PASSWORD, patience=0)
            with pytest.raises(ServerAway, match="certificate"):
                distrusting.search("job", last=0)
