"""Edits of a job, translated for a SlipStream server (docs/reference/cimi.md, "Jobs")."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.cimi.dialects.translation import addable, change, ours
from geventjob.cimi.errors import Conflict, Invalid
from geventjob.job.states import FINAL
from tests.support.slipstream_rules import validate

PATH = "/job/entries/entry-999-0000000007"
STATES = ["QUEUED", "RUNNING", "STOPPING", "STOPPED", "SUCCESS", "FAILED"]
ME = {"executor": "me", "fence": "9", "attempts": "2", "interruptions": "1"}
OTHER = {"executor": "other", "fence": "5", "attempts": "2", "interruptions": "1"}

Document = dict[str, Any]


def job(state: str = "QUEUED", notes: dict[str, str] | None = None, **more: Any) -> Document:
    return {
        "id": "job/1",
        "action": "a",
        "state": state,
        "progress": 0,
        "acl": {"owner": {}, "rules": []},
        "properties": {"zookeeper-path": PATH, **(notes or {})},
        **more,
    }


def edit(**attributes: Any) -> Document:
    return {"id": "job/1", "set": attributes, "entry": PATH, "fence": 9, "executor": "me"}


def put(document: Document, one: Document, actions: list[str] | None = None) -> Document:
    """Return the job on the server after this edit."""
    wanted = change(document, one, actions)
    after = document if wanted is None else {**document, **wanted}
    validate(after)
    return after


def reason(document: Document, one: Document, actions: list[str] | None = None) -> str:
    with pytest.raises(Conflict) as caught:
        change(document, one, actions)
    assert caught.value.status == 409
    assert caught.value.job is not None
    assert caught.value.job["state"] == document["state"]
    return str(caught.value.reason)


# --- RUNNING


def test_the_first_run_leaves_its_notes_and_keeps_the_other_properties() -> None:
    after = put(job(notes={"rack": "7"}), edit(state="RUNNING"), ["a"])
    assert after["state"] == "RUNNING"
    assert after["properties"] == {
        "zookeeper-path": PATH,
        "rack": "7",
        "attempts": "1",
        "interruptions": "0",
        "executor": "me",
        "fence": "9",
    }
    seen = ours(after, edit(state="RUNNING"))
    assert (seen["attempts"], seen["interruptions"], seen["interrupted"], seen["executor"]) == (1, 0, False, "me")


def test_a_run_after_one_that_died_is_an_interruption() -> None:
    seen = ours(put(job("RUNNING", OTHER), edit(state="RUNNING")))
    assert (seen["attempts"], seen["interruptions"], seen["interrupted"]) == (3, 2, True)


@pytest.mark.parametrize(("most", "state", "interruptions"), [(2, "RUNNING", 2), (1, "QUEUED", 2)])
def test_a_job_that_was_interrupted_too_often_waits(most: int, state: str, interruptions: int) -> None:
    begin = edit(state="RUNNING") | {"maxInterruptions": most}
    after = put(job("RUNNING", OTHER), begin)
    assert (after["state"], ours(after)["interruptions"]) == (state, interruptions)
    if state == "QUEUED":
        assert after["properties"] == {"zookeeper-path": PATH, **OTHER, "interruptions": "2"}
        assert change(after, begin, None) is None
        seen = ours(put(after, edit(state="RUNNING")))
        assert (seen["state"], seen["attempts"], seen["interruptions"]) == ("RUNNING", 3, 2)


def test_a_run_after_a_release_is_none() -> None:
    seen = ours(put(job("QUEUED", OTHER), edit(state="RUNNING")))
    assert (seen["attempts"], seen["interruptions"], seen["interrupted"]) == (3, 1, True)


def test_a_run_after_an_old_engines() -> None:
    """An old engine leaves no count and no note, but the server knows that the job was begun."""
    begun = job("RUNNING", started="2019-04-02T08:15:30.000Z")
    seen = ours(put(begun, edit(state="RUNNING")))
    assert (seen["attempts"], seen["interruptions"], seen["interrupted"]) == (2, 1, True)


def test_the_same_again_changes_nothing() -> None:
    running = put(job(), edit(state="RUNNING"))
    assert change(running, edit(state="RUNNING"), []) is None
    for state in ("SUCCESS", "FAILED", "STOPPED", "QUEUED"):
        after = put(running, edit(state=state))
        assert change(after, edit(state=state), None) is None


def test_what_may_not_be_begun() -> None:
    for state in FINAL:
        assert reason(job(state, OTHER), edit(state="RUNNING")) == "final"
    assert reason(job("STOPPING", OTHER), edit(state="RUNNING")) == "stopping"
    for state in ("QUEUED", "RUNNING"):
        assert reason(job(state), edit(state="RUNNING"), ["b"]) == "action"


# --- the owner


@pytest.mark.parametrize("target", [None, "SUCCESS", "FAILED", "STOPPED", "QUEUED"])
def test_an_owner_may_say_anything_of_a_job_that_runs(target: str | None) -> None:
    attributes = {"statusMessage": "m"} | ({"state": target} if target else {})
    assert change(job("RUNNING", ME), edit(**attributes), None) == attributes


def test_what_an_owner_says_of_one_that_was_stopped() -> None:
    """The message is written, the outcome is not; and the owner sees STOPPING."""
    stopped = job("STOPPED", ME)
    assert change(stopped, edit(progress=3), None) == {"progress": 3}
    assert ours(stopped, edit(progress=3))["state"] == "STOPPING"
    assert ours(stopped, edit(state="STOPPED"))["state"] == "STOPPED"
    assert change(stopped, edit(state="STOPPED"), None) is None
    for target in ("SUCCESS", "FAILED", "QUEUED"):
        assert reason(stopped, edit(state=target)) == "final"
    assert reason(job("STOPPING", ME), edit(state="QUEUED")) == "stopping"
    assert change(job("STOPPING", ME), edit(state="STOPPED"), None) == {"state": "STOPPED"}


def test_what_an_owner_says_too_late() -> None:
    for state in ("SUCCESS", "FAILED"):
        assert reason(job(state, ME), edit(progress=3)) == "final"
        assert reason(job(state, ME), edit(state="STOPPED")) == "final"
    assert reason(job("QUEUED", ME), edit(progress=3)) == "fence"


# --- another claim


@pytest.mark.parametrize(
    ("state", "targets"),
    [
        ("QUEUED", {"SUCCESS", "FAILED", "STOPPED"}),
        ("RUNNING", {"FAILED"}),
        ("STOPPING", {"SUCCESS", "FAILED", "STOPPED"}),
    ],
)
def test_who_took_the_job_later_may_end_it(state: str, targets: set[str]) -> None:
    document = job(state, OTHER)
    for target in ("SUCCESS", "FAILED", "STOPPED", "QUEUED", None):
        one = edit(**({"state": target} if target else {"progress": 1}))
        if target in targets and target != state:
            after = put(document, one)
            assert after["properties"] == {"zookeeper-path": PATH, **OTHER, "executor": "me", "fence": "9"}
        else:
            assert reason(document, one) == "fence"
        assert reason(document, {**one, "fence": 4}) == "fence", "taken earlier"


def test_an_edit_without_an_owner_is_made_as_it_is() -> None:
    one = {"id": "job/1", "set": {"state": "RUNNING", "properties": {"a": "b", "fence": "77"}}}
    assert change(job("SUCCESS", OTHER), one, []) == {
        "state": "RUNNING",
        "properties": {"a": "b", "zookeeper-path": PATH, **OTHER},
    }


# --- the schema


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"payload": {}}, "payload: a job of a SlipStream server has no such attribute"),
        ({"fence": 3}, "fence: "),
        ({"timeout": 3}, "timeout: "),
        ({"statusMessage": None}, "statusMessage: a SlipStream server takes no null"),
        ({"progress": 3.5}, "progress: a SlipStream server takes no fraction"),
        ({"properties": {"a": 1}}, "properties: a SlipStream server takes an object of texts"),
        ({"properties": "x"}, "properties: "),
    ],
)
def test_what_its_schema_has_not_is_refused_here(attributes: Document, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        change(job("RUNNING", ME), edit(**attributes), None)
    with pytest.raises(Invalid, match=words):
        addable({"action": "a", **attributes})


def test_what_is_empty_is_left_out() -> None:
    assert change(job("RUNNING", ME), edit(affectedResources=[], nestedJobs=[], progress=0), None) == {"progress": 0}


def test_an_add_is_without_its_key() -> None:
    body = {"action": "a", "priority": 3, "targetResource": {"href": "job"}}
    assert addable({**body, "idempotencyKey": "k"}) == body


@pytest.mark.parametrize("count", [None, "", "x", "-3", "9" * 30])
def test_a_count_that_is_none_is_nothing(count: str | None) -> None:
    notes = {} if count is None else {"interruptions": count, "attempts": count}
    seen = ours(job(notes=notes))
    assert (seen["attempts"], seen["interruptions"]) == (0, 0)


# --- all of it


EDITS = st.fixed_dictionaries(
    {
        "state": st.sampled_from([None, *STATES]),
        "executor": st.sampled_from(["a", "b"]),
        "fence": st.integers(1, 4),
    }
)


@given(st.lists(EDITS, max_size=12))
def test_whatever_executors_write_fits_the_schema_and_no_end_is_overwritten(edits: list[Document]) -> None:
    document = job(acl={"owner": {}, "rules": []})
    runs = 0
    for one in edits:
        attributes = {"state": one["state"]} if one["state"] else {"progress": 5}
        before = document
        try:
            wanted = change(document, {**one, "id": "job/1", "entry": PATH, "set": attributes}, None)
        except Conflict:
            continue
        document = {**document, **(wanted or {})}
        validate(document)
        assert document["properties"]["zookeeper-path"] == PATH
        assert before["state"] not in FINAL or document["state"] == before["state"]
        runs += wanted is not None and wanted.get("state") == "RUNNING"
        assert ours(document)["attempts"] == runs


def test_lines_and_records_stay_here() -> None:
    kept = {"log": {"at": 0, "text": "a line\n"}, "record": {"stack": "a stack"}}
    for attributes in ({"state": "FAILED"}, {"state": "QUEUED"}):
        sent = change(job("RUNNING", ME), {**edit(**attributes), **kept}, None)
        assert sent == change(job("RUNNING", ME), edit(**attributes), None)
