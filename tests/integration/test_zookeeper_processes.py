"""Processes over ZooKeeper, observed from outside."""

from __future__ import annotations

import subprocess
import sys

from tests.support.zookeeper import Ensemble, running

FORKS = """
import geventjob.patch
import os, sys, gevent
from geventjob.coordination.zookeeper import ZooKeeperCoordination

member = ZooKeeperCoordination(sys.argv[1], "parent", 2)
member.on_lost = lambda claims: print("lost", len(claims), flush=True)
member.start()
member.put([("job/a", 1)])
(claim,) = member.take(1)
child = os.fork()
if child == 0:
    print("child", claim.lost, member.session.over, flush=True)
    gevent.sleep(1)
    try:
        member.put([("job/b", 1)])
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
gevent.sleep(0)
os.waitpid(child, 0)
gevent.sleep(1)
print("parent", claim.lost, member.session.over, flush=True)
member.consume([claim])
print(member.stats().entries, flush=True)
member.close()
"""


def test_a_forked_child_is_no_member_and_does_its_parent_no_harm() -> None:
    with running(Ensemble()) as ensemble:
        script = [sys.executable, "-c", FORKS, ensemble.hosts]
        result = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["child True True", "CoordinationAway", "parent False False", "0"]
