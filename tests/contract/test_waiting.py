"""Jobs that wait on something, and the one question at the gate, over every store and a real queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from geventjob.clock import now
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.waiting import waited_on, waiting_on
from geventjob.server.jobs.lifecycle import Edit, JobEdit
from geventjob.server.leaders.promoter import LONGEST
from geventjob.server.life.changes import added, entry_of
from geventjob.server.life.wait import Hold, hold
from geventjob.server.store.base import Insert, Store, Update
from tests.contract.store.conftest import make, store  # noqa: F401  (fixtures)
from tests.contract.test_promoter import ADMIN, Site, site  # noqa: F401  (a fixture)
from tests.contract.test_reconcile import both  # noqa: F401  (a fixture)
from tests.support.waiting import eventually

ACL = {"owner": {"principal": "ADMIN", "type": "ROLE"}}


@dataclass(frozen=True)
class Closed(Rules):
    """Rules that hold jobs of these actions."""

    actions: set[str] = field(default_factory=set)

    def concern(self, job: dict[str, Any]) -> bool:
        return job["action"] in self.actions

    def wait_of(self, job: dict[str, Any]) -> Hold | None:
        return Hold("closed", "the shop is closed", on=f"shop/{job['action']}") if self.concern(job) else None


def waiter(number: int, on: str, priority: int, created: str) -> dict[str, Any]:
    job = added({"action": "a", "priority": priority}, id=f"job/{number}", now=now(), acl=ACL) | {"created": created}
    hold(job, Hold("closed", "", on=on))
    return job


def test_those_that_wait_on_a_thing_are_found_in_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("geventjob.server.gate.waiting.PAGE", 3)
    early, late = "2026-04-02T08:15:30.123Z", "2026-04-02T08:15:30.124Z"
    places = [(5, late), (999, early), (5, early), (999, late), (10, late), (5, early), (0, late)]
    jobs = [waiter(number, "shop/a|1", *place) for number, place in enumerate(places)]
    others = [waiter(number, on, 0, early) for number, on in enumerate(["shop/a|", "shop/a|2", "shop/b", "shop0"], 90)]
    store.write([Insert(job) for job in (*others, *jobs, {**waiter(80, "shop/a|1", 1, early), "held": {"why": "x"}})])
    found = [[job["id"] for job in page] for page in waiting_on(store, "shop/a|1")]
    order = sorted(range(7), key=lambda number: (*places[number], number))
    assert found == [[f"job/{number}" for number in order[first : first + 3]] for first in (0, 3, 6)]
    assert list(waited_on(store, "shop/")) == ["shop/a|", "shop/a|1", "shop/a|2", "shop/b"]
    assert list(waited_on(store, "nothing/")) == []
    assert list(waiting_on(store, "shop/a")) == []


def test_a_job_that_a_rule_holds_waits_without_an_entry_until_the_rule_ends(site: Site) -> None:  # noqa: F811
    site.promoter.book._rules = Closed(actions={"noop"})
    first, second = site.add(priority=3), site.add(priority=2)
    other = site.add(action="other")
    assert site.state(first) == ("QUEUED", True, False)
    assert site.state(other) == ("QUEUED", False, True)
    held = site.job(first)["held"]
    assert (held["why"], held["detail"], held["on"]) == ("closed", "the shop is closed", "shop/noop")
    assert not site.promoter.run() < LONGEST - 1
    site.promoter.ask_all("shop/noop")
    assert site.state(first) == ("QUEUED", True, False)
    site.promoter.book._rules = Rules()
    site.promoter.ask_all("shop/noop")
    site.promoter.run()
    assert [site.state(id) for id in (first, second)] == [("QUEUED", False, True)] * 2
    assert [waiting.job for waiting in site.both.coordination.stats(9).head] == [second, first, other]


def test_a_time_that_is_over_asks_the_rules(site: Site) -> None:  # noqa: F811
    id = site.add(notBefore="+1h")
    site.promoter.book._rules = Closed(actions={"noop"})
    site.pass_time(id, 3600)
    site.promoter.run()
    assert site.state(id) == ("QUEUED", True, False)
    assert site.job(id)["held"]["on"] == "shop/noop"
    assert site.queue() == []


def test_a_rule_that_ends_leaves_a_job_for_later_held(site: Site) -> None:  # noqa: F811
    id = site.add(notBefore="+1h")

    def change(job: dict[str, Any]) -> dict[str, Any]:
        hold(job, Hold("closed", "", on="shop/noop"))
        return job

    site.both.store.write([Update(id, change)])
    site.promoter.ask_all("shop/noop")
    site.promoter.run()
    job = site.job(id)
    assert (job["held"]["why"], job["held"]["until"]) == ("notBefore", job["notBefore"])


def test_a_lost_entry_of_a_job_that_a_rule_holds_is_not_put_back(site: Site) -> None:  # noqa: F811
    held, runs = site.add(), site.add(action="other")
    site.both.coordination.remove([entry_of(site.job(id)) or "" for id in (held, runs)])
    site.both.reconciler._promoter.book._rules = Closed(actions={"noop"})
    assert site.both.run().requeued == 1
    assert site.state(held) == ("QUEUED", True, False)
    assert site.state(runs) == ("QUEUED", False, True)


def test_a_job_that_waits_on_a_thing_keeps_its_place_by_priority_and_is_not_released(site: Site) -> None:  # noqa: F811
    site.promoter.book._rules = Closed(actions={"noop"})
    ids = [site.add(priority=priority) for priority in (5, 6)]
    site.jobs.edit([JobEdit(ids[1], Edit({"priority": 4}))], ADMIN)
    [page] = waiting_on(site.both.store, "shop/noop")
    assert [job["id"] for job in page] == [ids[1], ids[0]]
    before = site.job(ids[0])
    assert site.jobs.release(ids[0], ADMIN) == before


@pytest.mark.parametrize("end", ["stop", "delete", "expire"])
def test_the_promoter_is_told_of_the_end_of_a_job_for_which_others_may_wait(
    site: Site,  # noqa: F811
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(site.promoter, "_notify", told.append)
    awaited, other = (site.add(expires="+1h", **more) for more in ({"parentJob": "job/1"}, {}))
    told.clear()
    ends: dict[str, Callable[[str], Any]] = {
        "stop": lambda id: site.jobs.stop(id, ADMIN),
        "delete": lambda id: site.jobs.delete(id, ADMIN),
        "expire": lambda id: (site.pass_time(id, 3600), site.promoter.run()),
    }
    for id in (other, awaited):
        ends[end](id)
    assert told == [{"ended": [awaited]}]


def test_a_notice_reaches_the_server_that_leads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    heard: list[dict[str, Any]] = []
    coordination = site.both.coordination
    monkeypatch.setattr(coordination, "leaders", lambda elections: {"promoter": "other"})
    monkeypatch.setattr(coordination, "send", lambda name, message, topic: heard.append({name: message}))
    for n in range(3):
        site.promoter.ended([{"id": f"job/{n}", "limits": ["x"]}, {"id": "job/plain"}])
    eventually(lambda: [id for one in heard for id in one["other"]["ended"]] == ["job/0", "job/1", "job/2"])
