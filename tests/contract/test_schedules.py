"""Schedules as data over HTTP, over both stores (docs/reference/api.md, "Schedules")."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from geventjob import Client
from geventjob.calendar import stored
from geventjob.calendar.stored import milliseconds
from geventjob.scheduling.stored import KnownSchedules
from tests.support.callers import PASSWORD, STORES, LocalServer, local_server
from tests.support.job_server import good, problem

LINE = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
HOUR = 3_600_000


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Start one server of each kind for all tests, which use names of their own."""
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def name() -> str:
    return f"s{uuid4().hex[:12]}"


def add(here: LocalServer, name: str, **more: Any) -> str:
    answer = here.admin.post("schedule", {"name": name, "action": "report", **(more or LINE)})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"schedule/{name}"
    return str(answer.json()["resource-id"])


def get(here: LocalServer, id: str) -> dict[str, Any]:
    found: dict[str, Any] = good(here.admin.get(id))
    return found


def fire(here: LocalServer, id: str, **body: Any) -> list[str]:
    jobs: list[str] = good(here.admin.post(f"{id}/fire", body))["jobs"]
    return jobs


def fire_ticks(here: LocalServer, *ticks: tuple[str, int]) -> list[dict[str, Any]]:
    body = {"ticks": [{"id": id, "tick": tick} for id, tick in ticks]}
    found: list[dict[str, Any]] = good(here.admin.post("schedule/bulk-fire", body))["results"]
    return found


def fire_tick(here: LocalServer, id: str, tick: int) -> list[str]:
    """Return the jobs of a tick that must fire."""
    (result,) = fire_ticks(here, (id, tick))
    assert (result["status"], result["resource-id"]) == (200, id)
    jobs: list[str] = result["jobs"]
    return jobs


def refused(here: LocalServer, id: str, tick: int, words: str, status: int = 409) -> None:
    (result,) = fire_ticks(here, (id, tick))
    assert result["status"] == status
    assert words in result["message"]


def now() -> int:
    return time.time_ns() // 1_000_000


def jobs(here: LocalServer, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = here.admin.search("job", filter=f"idempotencyKey^='{id}@'")["jobs"]
    return found


# --- add, get, search, edit, delete


def test_a_schedule_keeps_what_was_sent(here: LocalServer, name: str) -> None:
    body = {
        **LINE, "catchup": 3, "jitter": 60, "unlessPending": False, "description": "for the board", "priority": 7,
        "payload": {"a": [1, None]}, "timeout": 1.5, "retries": 2, "tags": ["x"],
        "targetResource": {"href": "report/daily"}, "properties": {"p": "q"},
    }  # fmt: skip
    id = add(here, name, **body)
    found = get(here, id)
    assert id == f"schedule/{name}"
    assert {key: found[key] for key in body} == body
    assert (found["name"], found["action"]) == (name, "report")
    assert found["since"] == found["created"]
    assert found["resourceURI"] == "http://sixsq.com/slipstream/1/Schedule"
    assert found["next"][11:16] in ("00:30", "00:31", "01:30", "01:31"), "02:30 in Berlin, and the jitter"
    assert [each["rel"] for each in found["operations"]] == ["edit", "delete", "pause", "resume", "fire"]
    problem(here.admin.post("schedule", {"name": name, "action": "a", "every": 5}), 409, f"conflict with {id}")


def test_a_search_finds_schedules(here: LocalServer, name: str) -> None:
    add(here, name, every=60, tags=[name])
    add(here, f"{name}-2", **LINE)
    page = here.admin.search("schedule", filter=f"name^='{name}'", orderby="name:asc")
    assert (page["id"], page["count"]) == ("schedule", 2)
    assert [each["name"] for each in page["schedules"]] == [name, f"{name}-2"]
    (found,) = here.admin.search("schedule", filter=f"tags='{name}'", select="next,every")["schedules"]
    assert found.keys() - {"id", "acl", "resourceURI", "operations"} == {"next", "every"}
    assert here.admin.search("job", filter=f"name^='{name}'")["count"] == 0


def test_an_edit_sets_and_deletes(here: LocalServer, name: str) -> None:
    id = add(here, name, **LINE, payload={"a": 1}, jitter=5)
    before = get(here, id)
    after = good(here.admin.put(f"{id}?$select=payload,jitter", {"priority": 3}))
    assert after["priority"] == 3
    assert not {"payload", "jitter"} & after.keys()
    assert after["since"] == before["since"], "the timing is the same"
    after = good(here.admin.put(f"{id}?$select=cron,timezone", {"every": 90}))
    assert after["every"] == 90
    assert not {"cron", "timezone"} & after.keys()
    assert after["since"] > before["since"]
    assert good(here.admin.put(id, after)).keys() == after.keys(), "a document that was read may be sent back"
    good(here.admin.delete(id))
    for answer in here.admin.get(id), here.admin.delete(id), here.admin.put(id, {}), here.admin.post(f"{id}/pause"):
        problem(answer, 404, id)
    problem(here.admin.post(f"{id}/fire", {"idempotencyKey": "k"}), 404, id)
    refused(here, id, now(), "not found", status=404)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no action": ({"action": None, **LINE}, "action: "),
    "no timing": ({}, "cron: expected either cron, a crontab line, or every, seconds"),
    "both": ({"cron": "@daily", "every": 5}, "cron: expected either"),
    "line": ({"cron": "61 * * * *"}, "cron: '61 * * * *': "),
    "line that never fires": ({"cron": "0 0 30 2 *"}, "cron: "),
    "no text": ({"cron": 5}, "cron: expected a crontab line"),
    "zone": ({"cron": "@daily", "timezone": "berlin"}, "timezone: no time zone 'berlin': did you mean Europe/Berlin?"),
    "zone of every": ({"every": 5, "timezone": "Europe/Berlin"}, "timezone: belongs to cron"),
    "short": ({"every": 0.5}, "every: expected seconds from 1 to ten years"),
    "text": ({"every": "1h"}, "every: expected seconds"),
    "catchup": ({**LINE, "catchup": "all"}, "catchup: expected"),
    "catchup 0": ({**LINE, "catchup": 0}, "catchup: expected"),
    "catchup and pending": ({**LINE, "catchup": 2, "unlessPending": True}, "catchup: a number needs unlessPending"),
    "jitter": ({**LINE, "jitter": -1}, "jitter: expected seconds from 0 to a day"),
    "pending": ({**LINE, "unlessPending": "yes"}, "unlessPending: expected true or false"),
    "payload": ({**LINE, "payload": [1]}, "payload: expected a JSON object"),
    "priority": ({**LINE, "priority": 1000}, "priority: expected an integer from 0 to 999"),
    "target": ({**LINE, "targetResource": {"href": "Not An Href"}}, "targetResource.href: expected"),
    "unknown": ({**LINE, "timezon": "Europe/Berlin"}, "timezon: unknown attribute"),
    "state": ({**LINE, "state": "QUEUED"}, "state: unknown attribute"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_schedule_is_refused_with_the_attribute(here: LocalServer, name: str, what: str) -> None:
    body, words = WRONG[what]
    whole = {"name": name, "action": "report", **body}
    problem(here.admin.post("schedule", whole), 400, "resource does not satisfy defined schema: ", words)
    problem(here.admin.get(f"schedule/{name}"), 404)


def test_the_name_of_a_request_is_reserved(here: LocalServer) -> None:
    problem(here.admin.post("schedule", {"name": "bulk-fire", "action": "a", **LINE}), 400, "name: bulk-fire is")


@pytest.mark.parametrize("wrong", ["", "a b", "a/b", "-a", "a.", "a" * 101, "ä", 5])
def test_a_wrong_name_is_refused(here: LocalServer, wrong: Any) -> None:
    problem(here.admin.post("schedule", {"name": wrong, "action": "a", **LINE}), 400, "name: expected at most 100")


def test_an_edit_is_checked_with_the_rest_of_the_schedule(here: LocalServer, name: str) -> None:
    id = add(here, name)
    problem(here.admin.put(id, {"every": 5}), 400, "cron: expected either")
    problem(here.admin.put(f"{id}?$select=action", {}), 400, "action: cannot be deleted")
    problem(here.admin.put(id, {"cron": "x"}), 400, "cron: 'x': ")
    assert {**get(here, id), **LINE} == get(here, id)
    problem(here.admin.post("schedule", {"action": "a", **LINE}), 400, "name: is missing")
    problem(here.admin.post("schedule", [1]), 400, "schedule: expected a JSON object")


# --- pause and resume


def test_a_pause_says_who_why_and_until_when(here: LocalServer, name: str) -> None:
    id = add(here, name)
    problem(here.admin.post(f"{id}/resume"), 409, f"{id} is not paused")
    paused = good(here.admin.post(f"{id}/pause", {"why": "the disk is full", "until": "+2h"}))["paused"]
    assert (paused["by"], paused["why"]) == ("super", "the disk is full")
    assert paused["until"] > paused["at"]
    assert get(here, id)["next"] > paused["until"]
    assert good(here.admin.post(f"{id}/pause"))["paused"].keys() == {"by", "at"}
    assert "next" not in get(here, id)
    before = get(here, id)["since"]
    after = good(here.admin.post(f"{id}/resume"))
    assert "paused" not in after
    assert after["since"] > before, "ticks that passed in the pause never fire"
    assert "next" in get(here, id)


@pytest.mark.parametrize("until", ["", "tomorrow", "2h", "+2x", "2020-01-01T00:00Z", "+999999999w", "9999-01-01", 5])
def test_a_pause_until_no_date_to_come_is_refused(here: LocalServer, name: str, until: Any) -> None:
    id = add(here, name)
    problem(here.admin.post(f"{id}/pause", {"until": until}), 400, "until")
    assert "paused" not in get(here, id)


def test_a_pause_ends_by_itself(here: LocalServer, name: str) -> None:
    id = add(here, name, every=1)
    until = good(here.admin.post(f"{id}/pause", {"until": "+1s"}))["paused"]["until"]
    while "paused" in get(here, id):
        time.sleep(0.05)
    problem(here.admin.post(f"{id}/resume"), 409, "is not paused")
    schedule = get(here, id)
    assert schedule["since"] == until
    assert schedule["next"] > until
    passed = milliseconds(until) // 1000 * 1000
    refused(here, id, passed, "the end of its pause")
    assert passed not in stored.due(schedule, now())


# --- fire


def wait_for_a_tick(here: LocalServer, id: str) -> int:
    """Return a tick of a schedule of one second that has come since the schedule was made."""
    since = get(here, id)["next"]
    while time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) < since[:19]:
        time.sleep(0.05)
    return now() // 1000 * 1000


def test_a_tick_makes_one_job(here: LocalServer, name: str) -> None:
    id = add(here, name, every=1, payload={"a": 1}, priority=5, tags=["t"])
    tick = wait_for_a_tick(here, id)
    (job,) = fire_tick(here, id, tick)
    assert fire_tick(here, id, tick) == [job]
    found = good(here.admin.get(job))
    assert (found["action"], found["payload"], found["priority"], found["tags"]) == ("report", {"a": 1}, 5, ["t"])
    assert (found["name"], found["idempotencyKey"]) == (name, f"{id}@{tick}")
    assert len(jobs(here, id)) == 1
    schedule = get(here, id)
    assert schedule["tick"] == tick
    assert schedule["fired"]["job"] == job


def test_a_tick_makes_one_job_though_the_schedule_was_edited_in_between(here: LocalServer, name: str) -> None:
    """As if a leader had died after the job was made, before the server noted the tick."""
    id = add(here, name, every=1)
    tick = wait_for_a_tick(here, id)
    made = here.admin.add(action="report", name=name, payload={"old": 1}, idempotencyKey=f"{id}@{tick}")
    assert fire_tick(here, id, tick) == [made]
    assert len(jobs(here, id)) == 1


def test_a_tick_that_must_not_fire_is_refused(here: LocalServer, name: str) -> None:
    id = add(here, name, every=1)
    refused(here, id, now() - HOUR, "older than the schedule")
    refused(here, id, now() + HOUR, "lies in the future", status=503)
    tick = wait_for_a_tick(here, id)
    good(here.admin.post(f"{id}/pause"))
    refused(here, id, tick, "the schedule is paused")
    good(here.admin.post(f"{id}/resume"))
    refused(here, id, tick, "the end of its pause")
    later = wait_for_a_tick(here, id) + 1000
    assert len(fire_tick(here, id, later + 1000)) == 1
    refused(here, id, later, "a later tick has fired")
    assert len(jobs(here, id)) == 1


def test_a_tick_makes_no_job_while_the_last_one_is_pending(here: LocalServer, name: str) -> None:
    id = add(here, name, every=1, unlessPending=True)
    tick = wait_for_a_tick(here, id)
    (job,) = fire_tick(here, id, tick)
    for later in 1000, 2000:
        assert fire_tick(here, id, tick + later) == []
    assert get(here, id)["fired"]["pending"] == job
    assert get(here, id)["tick"] == tick + 2000
    good(here.admin.post(f"{job}/stop"))
    assert len(fire_tick(here, id, tick + 3000)) == 1


def test_a_person_fires_once_for_each_key(here: LocalServer, name: str) -> None:
    id = add(here, name)
    good(here.admin.post(f"{id}/pause"))
    one, two = (fire(here, id, idempotencyKey=key) for key in ("k1", "k2"))
    good(here.admin.put(id, {"payload": {"edited": True}}))
    assert fire(here, id, idempotencyKey="k1") == one != two
    schedule = get(here, id)
    assert (schedule["fired"]["by"], [schedule["fired"]["job"]]) == ("super", two)
    assert "tick" not in schedule
    assert len(jobs(here, id)) == 2


def test_many_ticks_fire_in_one_request_each_for_itself(here: LocalServer, name: str) -> None:
    ids = [add(here, f"{name}-{number}", every=1, priority=number) for number in range(3)]
    gone, idle = f"schedule/{name}-gone", add(here, f"{name}-idle", every=1)
    good(here.admin.post(f"{idle}/pause"))
    tick = wait_for_a_tick(here, ids[-1])
    results = fire_ticks(here, *((id, tick) for id in (*ids, gone, idle)), (ids[0], tick + 1000))
    assert [result["status"] for result in results] == [200, 200, 200, 404, 409, 200]
    made = [result["jobs"][0] for result in results if result["status"] == 200]
    assert [good(here.admin.get(job))["priority"] for job in made] == [0, 1, 2, 0]
    assert [get(here, id)["tick"] for id in ids] == [tick + 1000, tick, tick]
    many = {"ticks": [{"id": ids[0], "tick": tick}] * 101}
    problem(here.admin.post("schedule/bulk-fire", many), 400, "ticks")
    assert good(here.admin.post("schedule/bulk-fire", {"ticks": []})) == {"results": []}


@pytest.mark.parametrize("item", [{"tick": 5}, {"id": "schedule/x"}, {"id": "schedule/x", "tick": "now"}, 5])
def test_a_wrong_tick_is_refused(here: LocalServer, item: Any) -> None:
    problem(here.admin.post("schedule/bulk-fire", {"ticks": [item]}), 400, "ticks")


def test_a_firing_by_a_person_needs_a_key(here: LocalServer, name: str) -> None:
    id = add(here, name)
    problem(here.admin.post(f"{id}/fire"), 400, "idempotencyKey")
    problem(here.admin.post(f"{id}/fire", {"idempotencyKey": "a b"}), 400, "idempotencyKey")
    problem(here.admin.post(f"{id}/fire", {"tick": now()}), 400, "tick")
    problem(here.admin.post(f"{id}/launch"), 404, "undefined action")
    assert jobs(here, id) == []


# --- what the distributor knows


def test_the_distributor_reads_what_has_changed(here: LocalServer, name: str) -> None:
    first, other = add(here, name), add(here, f"{name}-2")
    known = KnownSchedules(Client(here.url, "super", PASSWORD))
    assert {first, other} <= set(known.look())
    assert known.by_id[first].keys() >= {"name", "cron", "timezone", "since"}
    assert "action" not in known.by_id[first]
    assert known.look() == []
    good(here.admin.put(first, {"jitter": 5}))
    good(here.admin.post(f"{other}/pause"))
    assert set(known.look()) == {first, other}
    assert known.by_id[first]["jitter"] == 5
    assert known.by_id[other]["paused"]["by"] == "super"
    good(here.admin.delete(first))
    third = add(here, f"{name}-3")
    assert known.look() == [third]
    assert first not in known.by_id
    good(here.admin.delete(third))
    assert known.look() == []
    assert third not in known.by_id
