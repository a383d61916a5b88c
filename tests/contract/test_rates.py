"""Rates, and what needs attention, over HTTP and both stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from geventjob.coordination.member import about
from geventjob.server.store.watched import Written
from geventjob.server.watch import rates as rates_module
from geventjob.server.watch.rates import OTHERS, Rates
from tests.support.callers import STORES, LocalServer, local_server
from tests.support.job_server import good
from tests.support.waiting import eventually


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def ended(state: str, action: str = "x") -> list[Written]:
    """Return the turns of a job that is added and ends so."""
    times = {"started": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:01.000Z"}
    new = {"id": "job/1", "action": action, "state": "QUEUED"}
    running = {**new, "state": "RUNNING", **times}
    return [Written(None, new), Written(new, running), Written(running, {**running, "state": state})]


def total(rates: Rates, name: str) -> int:
    return sum(minute["counts"][name] for minute in rates.minutes())


def shown(here: LocalServer) -> dict[str, int]:
    found: list[dict[str, Any]] = good(here.admin.get("rate"))["minutes"]
    assert len(found) == 60
    return {name: sum(minute[name] for minute in found) for name in ("in", "out", "failed")}


def test_what_comes_in_and_goes_out_is_counted(here: LocalServer) -> None:
    before = shown(here)
    ids = [here.admin.add(action="counted") for _ in range(3)]
    good(here.admin.post(f"{ids[0]}/stop"))
    good(here.admin.post(f"{ids[0]}/stop"))
    assert here.admin.put(ids[1], {"state": "FAILED"}).status_code == 200
    after = shown(here)
    assert {name: after[name] - before[name] for name in after} == {"in": 3, "out": 2, "failed": 1}
    (action,) = [one for one in good(here.admin.get("rate"))["actions"] if one["action"] == "counted"]
    assert action == {"action": "counted", "in": 3, "out": 2, "failed": 1}


def test_counts_outlive_their_server_and_add_up_over_servers(here: LocalServer) -> None:
    first, second = (Rates(here.store, here.coordination) for _ in range(2))
    before = total(first, "out"), total(first, "failed")
    first.note(ended("SUCCESS"))
    first.write()
    first.note(ended("FAILED"))
    first.write()
    second.note(ended("SUCCESS"))
    assert total(second, "out") == before[0] + 3
    assert total(Rates(here.store, here.coordination), "failed") == before[1] + 1


def test_durations_are_counted(here: LocalServer) -> None:
    rates = Rates(here.store, here.coordination)
    rates.note(ended("SUCCESS", "timed"))
    rates.note(ended("FAILED", "timed"))
    rates.write()
    (action,) = [one for one in good(here.admin.get("rate"))["actions"] if one["action"] == "timed"]
    assert action["p50"] == pytest.approx(1, rel=0.2)


def test_actions_beyond_the_bound_are_counted_together(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "MOST_ACTIONS", 2)
    rates = Rates(here.store, here.coordination)
    for n in range(5):
        rates.note(ended("SUCCESS", f"many{n}"))
    (minute,) = list(rates._minutes.values())[-1:]
    assert set(minute.actions) == {"many0", "many1", OTHERS}
    assert minute.actions[OTHERS]["out"] == 3


def test_old_minutes_are_forgotten(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates(here.store, here.coordination)
    before = total(rates, "in")
    rates.note(ended("SUCCESS"))
    rates.write()
    monkeypatch.setattr(rates_module, "KEPT_MINUTES", -2)
    rates._forget()
    assert total(Rates(here.store, here.coordination), "in") < before + 1


def test_the_queue_is_sampled(here: LocalServer) -> None:
    class Leading:
        leads = True

    rates = Rates(here.store, here.coordination, Leading())  # type: ignore[arg-type]
    here.admin.add(action="queued")
    rates.look()
    rates.write()
    minute = good(here.admin.get("rate"))["minutes"][-1]
    assert minute["depth"] == here.coordination.stats(0).entries > 0
    assert minute["oldest"] >= 0


def test_attention(here: LocalServer) -> None:
    def kinds() -> dict[str, dict[str, Any]]:
        return {one["kind"]: one for one in good(here.admin.get("attention"))["attention"]}

    here.admin.add(action="nobody_has_this")
    assert kinds()["no-executor"]["waiting"] == here.coordination.stats(0).entries
    assert "no-leader" in kinds()
    here.coordination.announce("executors", about(actions=["x"]))
    found = kinds()
    assert "no-executor" not in found

    def missing() -> bool:
        notices = good(here.admin.get("attention"))["attention"]
        return "nobody_has_this" in [one["action"] for one in notices if one["kind"] == "unannounced-action"]

    eventually(missing)
