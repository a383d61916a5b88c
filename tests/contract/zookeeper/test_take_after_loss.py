"""A take that waits goes on after the loss of a list that should have left a watch."""

from __future__ import annotations

import gevent

from tests.contract.zookeeper.conftest import Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper_proxy import GET_CHILDREN


def test_a_list_that_is_lost_leaves_no_watch(site: Site) -> None:
    way = site.proxy()
    lost = way.lose_answer(GET_CHILDREN, b"/job/entries\x01")
    member, other = site.member("one", hosts=way.hosts), site.member("other")
    taking = gevent.spawn(member.take, 1)
    eventually(lost.happened.is_set)
    session = member.session
    eventually(lambda: member._ensemble.now().live.is_set())
    gevent.sleep(0.5)  # the effects of the reconnection are over
    other.put([("job/a", 100)])
    assert jobs(taking.get(timeout=5)) == ["job/a"]
    assert member.session is session
