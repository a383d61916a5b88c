"""What a client may send of a job: a closed schema, checked attribute by attribute (DESIGN §3, CIMI §3).

The text of an error begins as SlipStream's does, and then names the attribute and what was expected, in one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from geventjob.cimi.document import Document
from geventjob.server.jobs.lifecycle import AT_ADD, KEPT, SERVERS

PAYLOAD_BYTES = 256 * 1024
KEY_LENGTH = 255
RULES = 1_000
"""Rules of an acl: each search and each look at a document goes through them."""
TEXT_LENGTH = 8_000
"""Characters, so that what is indexed as a keyword stays under Elasticsearch's 32,766 bytes."""


TAGS = 20
"""Tags of one job at most."""


class Invalid(ValueError):
    """A body that the schema refuses: HTTP 400. One line, for people."""

    status = 400

    def __init__(self, attribute: str, expected: str) -> None:
        super().__init__(f"resource does not satisfy defined schema: {attribute}: {expected}")


class TooLarge(Invalid):
    """A payload beyond what a job may carry: HTTP 413."""

    status = 413


_SOLID = r"\S"
_LINE = r"^(?=.*\S)[^\x00-\x1f\x7f]+\Z"
_END = r"(/[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)"
Name = Annotated[str, Meta(pattern=_LINE, max_length=KEY_LENGTH)]
Text = Annotated[str, Meta(pattern=_SOLID, max_length=TEXT_LENGTH)]
Caption = Annotated[str, Meta(pattern=_SOLID, max_length=KEY_LENGTH)]
Key = Annotated[str, Meta(max_length=KEY_LENGTH)]
Href = Annotated[str, Meta(pattern=rf"^[a-z]([a-z-]*[a-z])?{_END}?\Z", max_length=KEY_LENGTH)]
JobId = Annotated[str, Meta(pattern=rf"^job{_END}\Z", max_length=KEY_LENGTH)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Reference(Struct):
    """A resource; other keys are allowed and kept."""

    href: Href


class Principal(Struct, forbid_unknown_fields=True):
    principal: Name
    type: Literal["USER", "ROLE"]


Right = Literal[
    "VIEW",
    "MODIFY",
    "ALL",
    "VIEW_ACL",
    "VIEW_DATA",
    "VIEW_META",
    "EDIT_ACL",
    "EDIT_DATA",
    "EDIT_META",
    "DELETE",
    "MANAGE",
]


class Rule(Struct, forbid_unknown_fields=True):
    principal: Name
    type: Literal["USER", "ROLE"]
    right: Right


class Acl(Struct, forbid_unknown_fields=True):
    owner: Principal
    rules: Union[Annotated[list[Rule], Meta(min_length=1, max_length=RULES)], UnsetType] = UNSET


class Job(Struct, forbid_unknown_fields=True):
    """Every attribute that may be sent; those that the server sets are checked too, and ignored."""

    id: Any = UNSET
    resourceURI: Any = UNSET
    created: Any = UNSET
    updated: Any = UNSET
    operations: Any = UNSET
    acl: Union[Acl, UnsetType] = UNSET
    name: Union[Caption, UnsetType] = UNSET
    description: Union[Text, UnsetType] = UNSET
    properties: Union[Annotated[dict[Key, str], Meta(min_length=1)], UnsetType] = UNSET
    parent: Union[Href, UnsetType] = UNSET
    resourceMetadata: Union[Href, UnsetType] = UNSET
    action: Union[Name, UnsetType] = UNSET
    payload: Union[dict[str, Any], UnsetType] = UNSET
    state: Union[Literal["QUEUED", "RUNNING", "SUCCESS", "FAILED", "STOPPING", "STOPPED"], UnsetType] = UNSET
    priority: Union[Annotated[int, Meta(ge=0, le=999)], UnsetType] = UNSET
    timeout: Union[Annotated[float, Meta(gt=0, le=1e9)], UnsetType] = UNSET
    idempotencyKey: Union[Name, UnsetType] = UNSET
    targetResource: Union[Reference, UnsetType] = UNSET
    affectedResources: Union[Annotated[list[Reference], Meta(min_length=1)], UnsetType] = UNSET
    progress: Union[Annotated[int, Meta(ge=0, le=100)], UnsetType] = UNSET
    returnCode: Union[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], UnsetType] = UNSET
    statusMessage: Union[str, UnsetType] = UNSET
    timeOfStatusChange: Union[str, UnsetType] = UNSET
    started: Union[str, UnsetType] = UNSET
    duration: Union[Count, UnsetType, None] = UNSET
    parentJob: Union[JobId, UnsetType] = UNSET
    tags: Union[Annotated[list[Name], Meta(max_length=TAGS)], UnsetType] = UNSET
    nestedJobs: Union[list[JobId], UnsetType] = UNSET
    executor: Union[str, UnsetType] = UNSET
    fence: Union[Count, UnsetType] = UNSET
    attempts: Union[Count, UnsetType] = UNSET
    interruptions: Union[Count, UnsetType] = UNSET
    interrupted: Union[bool, UnsetType] = UNSET


_HREF = "lower-case letters and dashes, then at most one `/` and a name, as `job` or `credential/ab-1`"

EXPECTED: Mapping[str, str] = {
    "acl": f"owner {{principal, type USER or ROLE}} and rules, one to {RULES} {{principal, type, right}}",
    "name": f"text that is not blank, at most {KEY_LENGTH} characters",
    "description": f"text that is not blank, at most {TEXT_LENGTH} characters",
    "properties": f"an object of strings, at least one, with names of at most {KEY_LENGTH} characters",
    "parent": _HREF,
    "resourceMetadata": _HREF,
    "action": f"a name on one line, at most {KEY_LENGTH} characters",
    "payload": "a JSON object",
    "state": "one of QUEUED RUNNING SUCCESS FAILED STOPPING STOPPED",
    "priority": "an integer from 0 to 999",
    "timeout": "seconds above 0",
    "idempotencyKey": f"text on one line, at most {KEY_LENGTH} characters",
    "targetResource": f"an object with an href of {_HREF}",
    "affectedResources": f"a list, at least one object with an href of {_HREF}",
    "progress": "an integer from 0 to 100",
    "returnCode": "an integer of at most 64 bits",
    "statusMessage": "a string",
    "parentJob": "the id of a job, as `job/<uuid>`",
    "tags": f"a list of at most {TAGS} texts, each on one line and of at most {KEY_LENGTH} characters",
    "nestedJobs": "a list of ids of jobs, as `job/<uuid>`",
    "duration": "whole seconds from 0, or null",
}
"""Attribute → what is expected of it, as errors and the reference say it."""


def validate_add(body: Any) -> Document:
    """The body of an add without what is the server's to set. Raises Invalid, TooLarge."""
    job = _checked(body)
    if "action" not in job:
        raise Invalid("action", f"is missing, expected {EXPECTED['action']}")
    return job


def validate_edit(set: Any, delete: Sequence[str] = ()) -> Document:
    """What an edit sets, without what is the server's to set, or set at the add only. Raises Invalid, TooLarge.

    To delete what a job must have is refused; what belongs to the server is kept without a word (CIMI §3).
    """
    change = _checked(set)
    for name in delete:
        if name in _REQUIRED and name not in change:
            raise Invalid(name, "cannot be deleted")
    return {name: value for name, value in change.items() if name not in AT_ADD}


_REQUIRED = KEPT - SERVERS - AT_ADD - {"acl", "priority"}


def _checked(body: Any) -> Document:
    try:
        msgspec.convert(body, Job)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    if "payload" in body and len(msgspec.json.encode(body["payload"])) > PAYLOAD_BYTES:
        raise TooLarge("payload", f"expected at most {PAYLOAD_BYTES // 1024} KB")
    return {name: value for name, value in body.items() if name not in SERVERS}


_PLACED = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def _explained(said: str) -> Invalid:
    """What msgspec said, in our words."""
    placed = _PLACED.fullmatch(said)
    what, path = (placed["what"], placed["path"] or "") if placed else (said, "")
    if unknown := _UNKNOWN.fullmatch(what):
        name = repr(unknown[1][:100])[1:-1]
        return Invalid(f"{path}.{name}" if path else name, "unknown attribute")
    if not path:
        return Invalid("job", "expected a JSON object")
    expected = EXPECTED.get(re.split(r"[.\[]", path)[0])
    said = what[:1].lower() + what[1:]
    if expected is None:
        return Invalid(path, said)
    told = "regex" in said or "length" in said
    return Invalid(path, f"expected {expected}" if told else f"expected {expected} ({said})")
