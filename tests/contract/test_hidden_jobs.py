"""A user learns nothing of a job that its acl hides: each answer is the same with the job and without it.

Two users ask the same before and after the other's jobs are added. A job that the caller knows by its id is compared
with an id that does not exist. Times are not measured: both cases read the store once, and compare one acl.
`test_events.py` has the streams of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geventjob.job.attributes import ATTRIBUTES
from geventjob.server.store.aggregation import ALGORITHMS
from tests.support.callers import STORES, LocalServer, comparable, good, local_server
from tests.support.job_server import Caller

LEFT_OUT = ("acl", "action", "after", "parentJob", "unique", "idempotencyKey", "expires", "notBefore")
ADDED = {
    attribute.name: attribute.type.examples
    for attribute in ATTRIBUTES
    if "add" in attribute.sent and attribute.name not in LEFT_OUT
}
PATHS = [attribute.name for attribute in ATTRIBUTES if attribute.search is not None]
ORDERS = ["", "created:desc", "priority", "name:desc", "state,id:desc"]

hidden_jobs = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ADDED.items()})
filters = st.one_of(
    st.sampled_from(PATHS).map(lambda path: f"{path}!=null"),
    st.sampled_from(["state='QUEUED'", "name^='Sales'", "priority<=999", "fulltext=='board'", "id!='x' or progress=0"]),
)
searches = st.fixed_dictionaries(
    {
        "filter": filters,
        "orderby": st.sampled_from(ORDERS),
        "last": st.sampled_from([0, 1, 20]),
        "aggregation": st.tuples(st.sampled_from(sorted(ALGORITHMS)), st.sampled_from(PATHS)).map(":".join),
    }
)


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("hidden")) as made:
        yield made


@pytest.fixture(scope="module")
def ann(here: LocalServer) -> Caller:
    """Return a submitter who owns a few jobs."""
    ann = here.known("ann", "SUBMITTER USER")
    for name in ("Sales of May", "mine"):
        ann.add(name=name, priority=7)
    return ann


@pytest.fixture(scope="module")
def bob(here: LocalServer) -> Caller:
    return here.known("bob", "SUBMITTER USER")


def test_no_search_and_no_bulk_request_changes_with_hidden_jobs(here: LocalServer, ann: Caller, bob: Caller) -> None:
    @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(jobs=st.lists(hidden_jobs, min_size=1, max_size=3), asked=st.lists(searches, min_size=4, max_size=6))
    def same(jobs: list[dict[str, Any]], asked: list[dict[str, Any]]) -> None:
        def answers() -> list[str]:
            here.store.refresh("job")
            found = [ann("PUT", "job", data={f"${name}": value for name, value in ask.items()}) for ask in asked]
            assert {answer.status_code for answer in found} <= {200, 400}
            mine = {"filter": "priority!=7", "idempotencyKey": "k"}
            found += [ann.post(f"job/bulk-{what}", {"filter": "priority!=7"}) for what in ("stop", "release")]
            return [answer.text for answer in (*found, ann.post("job/bulk-rerun", mine), ann.get("session"))]

        before = answers()
        ids = [bob.add(**{"priority": 5, **job}) for job in jobs]
        assert answers() == before
        assert not [id for id in ids if id in "".join(before)]
        here.admin.bulk("delete", filter="priority!=7")

    same()


def test_a_hidden_id_is_answered_like_a_missing_one(here: LocalServer, ann: Caller, bob: Caller) -> None:
    job, batch = bob.add(), good_id(bob.post("job/batch", {"callback": {"action": "nothing"}, "open": True}))
    for hidden in (job, batch):
        missing = f"job/{uuid4()}"
        asks: list[Callable[[str], Any]] = [
            lambda id: ann.get(id),
            lambda id: ann.put(id, {"name": "x"}),
            lambda id: ann.delete(id),
            *(lambda id, part=part: ann.get(f"{id}/{part}") for part in ("why", "log", "record", "event")),
            *(
                lambda id, part=part: ann.post(f"{id}/{part}")
                for part in ("stop", "release", "rerun", "stack", "close")
            ),
            lambda id: ann.post("job", {"action": "nothing", "parentJob": id}),
            lambda id: ann.post("job", {"action": "nothing", "after": {"jobs": [id]}}),
            lambda id: ann.post("job/bulk-add", {"jobs": [{"action": "nothing", "parentJob": id}]}),
            lambda id: ann.post("job/bulk-edit", {"edits": [{"id": id, "set": {"name": "x"}}]}),
            lambda id: ann.post("job/batch", {"callback": {"action": "nothing", "parentJob": id}}),
        ]
        for ask in asks:
            assert comparable(ask(hidden), hidden) == comparable(ask(missing), missing)
        assert good(here.admin.get(hidden))["state"] == "QUEUED"


def good_id(answer: Any) -> str:
    assert answer.status_code == 201, answer.text
    return str(answer.json()["resource-id"])


def test_keys_of_another_user_are_free(ann: Caller, bob: Caller) -> None:
    one = {"action": "nothing", "idempotencyKey": "one", "unique": {"by": ["action"], "while": "active"}}
    mine, theirs = (good_id(caller.post("job", one)) for caller in (ann, bob))
    assert mine != theirs


def test_a_job_that_was_given_away_is_told_by_no_conflict(here: LocalServer, ann: Caller) -> None:
    for name, value in (("idempotencyKey", "given"), ("unique", {"by": ["name"], "while": "active"})):
        body = {"action": "nothing", "name": "given", name: value}
        id = good_id(ann.post("job", body))
        good(here.admin.put(id, {"acl": {"owner": {"principal": "bob", "type": "USER"}}, "description": "a secret"}))
        refused = ann.post("job", {**body, "description": "another"})
        assert refused.status_code == 409
        assert "job" not in refused.json()
        assert "QUEUED" not in refused.text


def test_a_sentence_counts_no_jobs_of_others(here: LocalServer, ann: Caller, bob: Caller) -> None:
    def why() -> str:
        return str(ann.get(f"{mine}/why").text)

    mine = ann.add(priority=999)
    before = why()
    bob.add(priority=0)
    assert why() == before
    assert "ahead" in good(here.admin.get(f"{mine}/why"))
