"""The reason why there is no session: it is in the line of the log, at the start and later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geventjob.coordination.base import CoordinationAway
from tests.contract.zookeeper.conftest import Member, Site
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, RawSession, running


@pytest.fixture
def narrow() -> Iterator[Site]:
    """Yield a server that takes one connection from each address, and stores SHA-256 of passwords."""
    digest: dict[str, Any] = {"DigestAuthenticationProvider.digestAlg": "SHA-256"}
    with running(Ensemble(maxClientCnxns=1, **digest)) as ensemble:
        made = Site(ensemble)
        yield made
        made.close()


def test_too_many_connections_a_server_that_is_gone_and_another_digest(
    narrow: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "auth").write_text("engine:secret")
    (tmp_path / "auth").chmod(0o600)
    other = RawSession(narrow.ensemble.port, timeout=60_000)
    member = narrow.unstarted("member", timeout=6.0, auth_file=str(tmp_path / "auth"))
    try:
        eventually(lambda: "accepts no more connections from this address" in why_not(member), within=30)
    finally:
        other.close()
    member.start()  # its nodes are its own, although kazoo's digest of the password would be SHA-1
    [entry] = member.put([("job/a", 1)])
    [claim] = member.take(1, timeout=5)
    assert claim.entry == entry
    member.consume([claim])

    narrow.ensemble.servers[0].kill()
    eventually(lambda: "ZooKeeper is out of reach: " in caplog.text)
    assert "Connection refused" in caplog.text
    assert caplog.text.count("out of reach") == 1
    eventually(lambda: member.session is None or member.session.over)
    with pytest.raises(CoordinationAway, match=r"no session with ZooKeeper: .*Connection refused"):
        eventually(lambda: member.stats().entries and False)


def why_not(member: Member) -> str:
    """Return the error of a start."""
    with pytest.raises(CoordinationAway) as caught:
        member.start()
    return str(caught.value)


def test_local_sessions_that_cannot_be_upgraded_and_a_lost_majority() -> None:
    with running(Ensemble(3, localSessionsEnabled="true")) as ensemble:
        site = Site(ensemble)
        member = site.member("member", timeout=3.0)
        with pytest.raises(CoordinationAway, match="local sessions without localSessionsUpgradingEnabled"):
            member.announce("executors", {})
        member.close()
        for server in ensemble.servers[1:]:
            server.kill()
        late = site.unstarted("late", timeout=3.0, hosts=f"127.0.0.1:{ensemble.port}")
        with pytest.raises(CoordinationAway, match="it serves no sessions now: no majority"):
            late.start()
