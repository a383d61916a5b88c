"""Check the bodies of schedules: a closed schema, and what the attributes of one schedule must fulfil together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geventjob.calendar.schedule import LONGEST_INTERVAL, LONGEST_JITTER, MOST_CAUGHT_UP
from geventjob.calendar.stored import plan_of
from geventjob.cimi.document import Document
from geventjob.job import types
from geventjob.job.attributes import ATTRIBUTES
from geventjob.job.types import ValueType
from geventjob.server.life.schema import SchemaError, check_shape

LONGEST_NAME = 100
RESERVED = "bulk-fire"
_NAME = rf"^(?=.{{1,{LONGEST_NAME}}}\Z)[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\Z"
_SERVERS = ("id", "resourceURI", "created", "updated", "operations", "acl", "since", "paused", "tick", "fired", "next")
"""Attributes that the server alone sets: values of a client are ignored."""
_OTHERS_OF_A_JOB = ("name", "description", "acl", "parentJob")
MADE = {
    attribute.name: attribute.type
    for attribute in ATTRIBUTES
    if attribute.rerun and attribute.name not in _OTHERS_OF_A_JOB
}
"""The attributes that a schedule gives to its jobs."""
ATTRIBUTES_OF_A_SCHEDULE: Mapping[str, ValueType] = {
    "name": ValueType(
        Annotated[str, Meta(pattern=_NAME)],
        f"at most {LONGEST_NAME} letters, digits and _.-, with a letter or digit at both ends",
        ("nightly", "hourly"),
    ),
    "description": types.TEXT,
    "cron": ValueType(Annotated[str, Meta(max_length=1000)], "a crontab line as '0 3 * * *'", ("0 3 * * *", "@daily")),
    "every": ValueType(Annotated[float, Meta(ge=1, le=LONGEST_INTERVAL)], "seconds from 1 to ten years", (60, 3600.5)),
    "timezone": ValueType(str, "a time zone as 'Europe/Berlin'", ("Europe/Berlin", "Asia/Tokyo")),
    "catchup": ValueType(
        Union[Literal["none", "last"], Annotated[int, Meta(ge=1, le=MOST_CAUGHT_UP)]],
        f'"none", "last" or an integer from 1 to {MOST_CAUGHT_UP}',
        ("none", 5),
    ),
    "jitter": ValueType(Annotated[float, Meta(ge=0, le=LONGEST_JITTER)], "seconds from 0 to a day", (5, 0.5)),
    "unlessPending": types.FLAG,
    **MADE,
}

ScheduleBody = msgspec.defstruct(
    "ScheduleBody",
    [(name, Any, None) for name in _SERVERS]
    + [(name, Union[type.checked, UnsetType], UNSET) for name, type in ATTRIBUTES_OF_A_SCHEDULE.items()],
    forbid_unknown_fields=True,
)
_EXPECTED = {name: type.words for name, type in ATTRIBUTES_OF_A_SCHEDULE.items()}


def validate_schedule(body: Any) -> Document:
    """Return the attributes of a new schedule that the client sets. Raises SchemaError."""
    schedule = validate_schedule_edit(body)
    check_whole(schedule)
    return schedule


def validate_schedule_edit(body: Any) -> Document:
    """Return the attributes that an edit sets, without those of the server. Raises SchemaError."""
    check_shape(body, ScheduleBody, "schedule", _EXPECTED)
    return {name: value for name, value in body.items() if name not in _SERVERS}


def check_whole(schedule: Mapping[str, Any]) -> None:
    """Check what the attributes of a schedule must fulfil together. Raises SchemaError, which names one of them."""
    for name in ("name", "action"):
        if name not in schedule:
            raise SchemaError(name, f"is missing, expected {_EXPECTED[name]}")
    if ("cron" in schedule) == ("every" in schedule):
        raise SchemaError("cron", "expected either cron, a crontab line, or every, seconds")
    if "timezone" in schedule and "cron" not in schedule:
        raise SchemaError("timezone", "belongs to cron: every is counted from 1970 in UTC")
    if schedule.get("unlessPending") and schedule.get("catchup") not in (None, "none", "last", 1):
        raise SchemaError("catchup", "a number needs unlessPending false: the first job would keep the others away")
    if schedule["name"] == RESERVED:
        raise SchemaError("name", f"{RESERVED} is the name of a request")
    try:
        plan_of(schedule)
    except ValueError as error:
        _, name, why = str(error).split("`", 2)
        raise SchemaError(name, why.strip(": ")) from None


def deletable(names: Sequence[str]) -> list[str]:
    """Return the names of attributes that an edit may delete. Raises SchemaError for a name that it must keep."""
    for name in names:
        if name in ("name", "action"):
            raise SchemaError(name, "cannot be deleted")
    return [name for name in names if name in ATTRIBUTES_OF_A_SCHEDULE]
