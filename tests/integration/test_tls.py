"""A server with TLS of its own: client, command line and executor over https, and a certificate replaced at SIGHUP."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.document import COOKIE
from geventjob.cimi.errors import ServerAway
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Way, ended, fleet, until
from tests.support.job_server import Caller
from tests.support.zookeeper import Certificates

JOB = {"action": "dummy_test_action", "payload": {"seconds": 0}}


def test_a_certificate_is_replaced_while_jobs_run(tmp_path: Path) -> None:
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    certificate, key, both = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "both.pem"
    both.write_text(old.ca.read_text() + new.ca.read_text())

    def install(certificates: Certificates) -> None:
        shutil.copy(certificates.server, certificate)
        shutil.copy(certificates.key(certificates.server), key)

    install(old)
    with fleet(tmp_path) as made:
        made.url = url = f"https://127.0.0.1:{made.port}"
        server = made.start_server("--tls-cert", str(certificate), "--tls-key", str(key))
        client = Client(url, "super", PASSWORD, ca=str(both))
        until(lambda: client.healthy() or not server.running)
        assert f"listens on {url}" in server.log
        caller = Caller(url)
        caller.http.verify = str(both)
        assert "Secure" in caller.login("super", PASSWORD).headers["Set-Cookie"]
        assert COOKIE in caller.http.cookies
        made.start_executor("one", "--ss-ca", str(both), way=Way(url, ""))
        ids = [client.add("job", JOB) for _ in range(20)]
        install(new)
        server.signal(signal.SIGHUP)
        until(lambda: "options were read again" in server.log)
        ids += [client.add("job", JOB) for _ in range(20)]
        fresh = Client(url, "super", PASSWORD, ca=str(new.ca))
        ids += [str(id) for id in fresh.bulk_add([JOB] * 20)]
        assert {job["state"] for job in ended(fresh, ids).values()} == {"SUCCESS"}
        with pytest.raises(ServerAway, match="certificate"):
            Client(url, "super", PASSWORD, ca=str(old.ca), patience=0).search("job", last=0)

        key.write_text("not a key")
        server.signal(signal.SIGHUP)
        until(lambda: "SIGHUP: nothing changes: --tls-cert" in server.log)
        cli = Cli(None, GEVENTJOB_SS_URL=url, GEVENTJOB_SS_USER="super", GEVENTJOB_SS_PASS_FILE=str(made.password_file))
        assert {job["state"] for job in cli.json("--ss-ca", str(new.ca), "jobs")} == {"SUCCESS"}
        assert "certificate" in cli.wrong("--timeout", "1", "jobs", code=4)
