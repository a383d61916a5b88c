"""Check the bodies of limits: a closed schema, and what the attributes of one limit must fulfil together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geventjob.cimi.document import Document
from geventjob.job import types
from geventjob.job.types import ValueType
from geventjob.server.life.schema import SchemaError, check_shape

LONGEST_NAME = 100
_NAME = rf"^(?=.{{1,{LONGEST_NAME}}}\Z)[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\Z"
_PER = r"^(payload|targetResource|properties|parentJob|acl)(\.[^.\x00-\x1f\x7f]{1,100}){0,9}\Z"
_SERVERS = ("id", "resourceURI", "created", "updated", "operations", "acl", "epoch")
"""Attributes that the server alone sets: values of a client are ignored."""
ATTRIBUTES_OF_A_LIMIT: Mapping[str, ValueType] = {
    "name": ValueType(
        Annotated[str, Meta(pattern=_NAME)],
        f"at most {LONGEST_NAME} letters, digits and _.-, with a letter or digit at both ends",
        ("stripe", "mail"),
    ),
    "description": types.TEXT,
    "action": types.ACTION,
    "per": ValueType(
        Annotated[str, Meta(pattern=_PER)],
        "the path of an attribute of the job below payload, targetResource, properties, parentJob or acl, as "
        "payload.account",
        ("payload.account", "targetResource"),
    ),
    "running": ValueType(Annotated[int, Meta(ge=1, le=1_000_000)], "an integer from 1 to 1,000,000", (5, 7)),
    "starts": ValueType(Annotated[int, Meta(ge=1, le=100_000)], "an integer from 1 to 100,000", (5, 7)),
    "each": ValueType(Annotated[float, Meta(gt=0, le=86_400)], "seconds above 0, at most a day", (60, 0.5)),
}

LimitBody = msgspec.defstruct(
    "LimitBody",
    [(name, Any, None) for name in _SERVERS]
    + [(name, Union[type.checked, UnsetType], UNSET) for name, type in ATTRIBUTES_OF_A_LIMIT.items()],
    forbid_unknown_fields=True,
)
_EXPECTED = {name: type.words for name, type in ATTRIBUTES_OF_A_LIMIT.items()}


def validate_limit(name: str, body: Any) -> Document:
    """Return the attributes of the limit with this name that the client sets. Raises SchemaError."""
    check_shape(body, LimitBody, "limit", _EXPECTED)
    check_shape({"name": name}, LimitBody, "limit", _EXPECTED)
    limit = {name: value for name, value in body.items() if name not in _SERVERS}
    if limit.get("name", name) != name:
        raise SchemaError("name", f"expected {name}, as in the address")
    if "action" not in limit:
        raise SchemaError("action", f"is missing, expected {_EXPECTED['action']}")
    if "running" not in limit and "starts" not in limit:
        raise SchemaError("running", "expected running, starts with each, or both")
    if ("starts" in limit) != ("each" in limit):
        raise SchemaError("each", "starts and each go together: at most so many starts in so many seconds")
    return limit | {"name": name}
