"""The schema of a job: each attribute, and the words of an error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from geventjob.job.attributes import SET_BY_SERVER
from geventjob.job.types import PAYLOAD_BYTES
from geventjob.server.life import schema
from geventjob.server.life.schema import PayloadTooLarge, SchemaError, validate_add, validate_edit

START = "resource does not satisfy defined schema: "
OWNER = {"principal": "alice", "type": "USER"}
RULE = {"principal": "ADMIN", "type": "ROLE", "right": "ALL"}
UUID = "job/0b7a5c1e-8f3d-4a39-9f1a-0123456789ab"

WELL: list[tuple[str, Any]] = [
    ("name", "n"),
    ("description", "two\nlines"),
    ("properties", {"k": "v", "": ""}),
    ("acl", {"owner": OWNER, "rules": [RULE]}),
    ("acl", {"owner": OWNER}),
    ("parent", "credential/ab-1"),
    ("payload", {}),
    ("payload", {"deep": [{"er": None}]}),
    ("state", "SUCCESS"),
    ("priority", 0),
    ("priority", 999),
    ("timeout", 1),
    ("timeout", 0.5),
    ("idempotencyKey", "jobs_cleanup@1714521600000#9ab3cd12"),
    ("targetResource", {"href": "job"}),
    ("targetResource", {"href": "credential/ab-1", "other": [1]}),
    ("affectedResources", [{"href": "a-b/C_1"}]),
    ("progress", 0),
    ("progress", 100),
    ("returnCode", -(2**63)),
    ("statusMessage", ""),
    ("statusMessage", "x" * 100_000),
    ("parentJob", UUID),
    ("parentJob", "job/abc-def"),
    ("nestedJobs", [UUID]),
    ("nestedJobs", []),
    ("output", [1.5, {"deep": [None]}]),
    ("output", ""),
    ("checkpoint", 0),
    ("retries", 0),
    ("retries", 100),
    ("tags", []),
    ("tags", ["nightly", "of Alice"]),
]

WRONG: list[tuple[str, Any, str]] = [
    ("action", "", "action: expected a name"),
    ("action", "a\nb", "action: expected a name"),
    ("action", "x" * 256, "at most 255"),
    ("name", "  ", "name: expected text that is not blank"),
    ("name", 5, "got `int`"),
    ("description", "x" * 8001, "at most 8000"),
    ("properties", {}, "at least one"),
    ("properties", {"a": 1}, "properties[...]: expected an object of strings"),
    ("acl", {"rules": [RULE]}, "acl: expected owner"),
    ("acl", {"owner": OWNER, "rules": []}, "acl.rules: expected owner"),
    ("acl", {"owner": {**OWNER, "extra": 1}}, "acl.owner.extra: unknown attribute"),
    ("acl", {"owner": OWNER, "rules": [{**RULE, "right": "SOME"}]}, "acl.rules[0].right: "),
    ("payload", [], "payload: expected a JSON object"),
    ("state", "DONE", "one of QUEUED RUNNING"),
    ("priority", 1000, "from 0 to 999"),
    ("priority", -1, "from 0 to 999"),
    ("priority", 1.5, "from 0 to 999"),
    ("priority", True, "got `bool`"),
    ("timeout", 0, "seconds above 0"),
    ("timeout", "5", "got `str`"),
    ("idempotencyKey", "", "idempotencyKey: expected text"),
    ("targetResource", {}, "missing required field `href`"),
    ("targetResource", "job", "targetResource: expected an object with an href"),
    ("targetResource", {"href": "Job/1"}, "targetResource.href: expected"),
    ("targetResource", {"href": "a/b/c"}, "targetResource.href: expected"),
    ("targetResource", {"href": "job/1\n"}, "targetResource.href: expected"),
    ("affectedResources", [], "at least one object"),
    ("affectedResources", [{"href": "a"}, {"href": "a/"}], "affectedResources[1].href: expected"),
    ("retries", 101, "retries: expected an integer from 0 to 100"),
    ("retries", -1, "from 0 to 100"),
    ("output", "x" * 65_535, "output: expected at most 64 KB"),
    ("checkpoint", ["x"] * 20_000, "checkpoint: expected at most 64 KB"),
    ("notBefore", "tomorrow", "notBefore: expected a date with a time zone"),
    ("notBefore", "2026-02-30T00:00:00Z", "is no moment"),
    ("notBefore", "2026-02-03T00:00:00", "is no moment"),
    ("notBefore", "+90", "+90s"),
    ("expires", "+1w", "expires: expected a date"),
    ("expires", "-5s", "an offset from now"),
    ("expires", "+999999999d", "is no moment"),
    ("expires", "9999-01-01T00:00:00Z", "too far away"),
    ("tags", ["x"] * 21, "tags: expected a list of at most 20 texts"),
    ("tags", [""], "tags[0]: expected a list"),
    ("tags", "x", "tags: expected a list"),
    ("progress", 101, "from 0 to 100"),
    ("progress", 50.0, "got `float`"),
    ("returnCode", 2**63, "64 bits"),
    ("statusMessage", 5, "statusMessage: expected a string"),
    ("parentJob", "user/a", "the id of a job"),
    ("nestedJobs", [UUID, "job/"], "nestedJobs[1]: expected a list of ids"),
]


@pytest.mark.parametrize(("name", "value"), WELL)
def test_well(name: str, value: Any) -> None:
    assert validate_add({"action": "a", name: value}) == {"action": "a", name: value}
    assert validate_edit({name: value}) == ({name: value} if name != "idempotencyKey" else {})


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_wrong(name: str, value: Any, words: str) -> None:
    for check, body in ((validate_add, {"action": "a", name: value}), (validate_edit, {name: value})):
        with pytest.raises(SchemaError) as refused:
            check(body)
        text = str(refused.value)
        assert text.startswith(START + name)
        assert words in text
        assert "\n" not in text
        assert refused.value.status == 400


ATTRIBUTES = [field.name for field in msgspec.structs.fields(schema.Job)]


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name not in schema.Job.__struct_fields__[:5]])
def test_null_is_no_value(name: str) -> None:
    if name == "duration":
        assert validate_edit({name: None}) == {}
    else:
        with pytest.raises(SchemaError, match=f"{START}{name}: .*null"):
            validate_edit({name: None})


def test_what_is_the_servers_is_left_out() -> None:
    sent: dict[str, Any] = {"id": 5, "created": None, "updated": {}, "resourceURI": "x", "operations": "y"}
    more = {"fence": 3, "executor": "me", "attempts": 9, "interruptions": 9, "interrupted": True, "started": "x"}
    assert validate_add({"action": "a", **sent, **more}) == {"action": "a"}
    assert validate_edit({**sent, **more}) == {}
    assert set(ATTRIBUTES) >= SET_BY_SERVER


@pytest.mark.parametrize("body", [[], "x", None, 5, {1: 2}])
def test_what_is_no_object(body: Any) -> None:
    with pytest.raises(SchemaError, match="job: expected a JSON object"):
        validate_add(body)


@pytest.mark.parametrize("name", ["foo", "zookeeper-path", "_owned", "target-resource", "x\ny"])
def test_what_is_unknown_is_named(name: str) -> None:
    with pytest.raises(SchemaError, match="unknown attribute") as refused:
        validate_add({"action": "a", name: 1})
    assert repr(name)[1:-1] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_action_is_needed_to_add() -> None:
    with pytest.raises(SchemaError, match="action: is missing"):
        validate_add({"name": "n"})
    assert validate_edit({"name": "n"}) == {"name": "n"}


def test_a_payload_of_256_kb() -> None:
    room = PAYLOAD_BYTES - len('{"a":""}')
    assert validate_add({"action": "a", "payload": {"a": "x" * room}})
    with pytest.raises(PayloadTooLarge, match="payload: expected at most 256 KB") as refused:
        validate_add({"action": "a", "payload": {"a": "x" * (room + 1)}})
    assert refused.value.status == 413
    with pytest.raises(PayloadTooLarge):
        validate_edit({"payload": {"a": "ü" * (room // 2 + 1)}})


@pytest.mark.parametrize("name", ["state", "action", "progress"])
def test_what_must_be_there_is_not_deleted(name: str) -> None:
    with pytest.raises(SchemaError, match=f"{name}: cannot be deleted"):
        validate_edit({}, [name])
    value = {"state": "RUNNING", "action": "b", "progress": 3}[name]
    assert validate_edit({name: value}, [name]) == {name: value}


@pytest.mark.parametrize("name", ["id", "acl", "created", "fence", "priority", "description", "nonsense"])
def test_what_else_may_be_named_to_delete(name: str) -> None:
    assert validate_edit({}, [name]) == {}
