"""Check the bodies of clients against the table of attributes: a closed schema.

The text of an error begins with SlipStream's words, and then names the attribute and the expected value in one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Union

import msgspec
from msgspec import UNSET, UnsetType

from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.job.attributes import AT_ADD, ATTRIBUTES, MOMENTS, REQUIRED, SET_BY_SERVER
from geventjob.job.moments import moment


class SchemaError(ValueError):
    """A body that the schema refuses: HTTP 400. The text is one line."""

    status = 400

    def __init__(self, attribute: str, expected: str) -> None:
        super().__init__(f"resource does not satisfy defined schema: {attribute}: {expected}")


class PayloadTooLarge(SchemaError):
    """A payload above its limit: HTTP 413."""

    status = 413


Job = msgspec.defstruct(
    "Job",
    [(attribute.name, Union[attribute.type.checked, UnsetType], UNSET) for attribute in ATTRIBUTES],
    forbid_unknown_fields=True,
)
"""The attributes that a client may send. The attributes of the server are checked too, and ignored."""

LIMITS = {attribute.name: attribute.type.most for attribute in ATTRIBUTES if attribute.type.most is not None}
"""Attribute → most bytes of its JSON."""
_LIMITED = frozenset(LIMITS)
EXPECTED = {attribute.name: attribute.type.words for attribute in ATTRIBUTES}


def validate_add(body: Any) -> Document:
    """Return the body of an add without the server's attributes. Raises SchemaError, PayloadTooLarge."""
    job = _checked(body)
    if "action" not in job:
        raise SchemaError("action", f"is missing, expected {EXPECTED['action']}")
    return job


def validate_edit(set: Any, delete: Sequence[str] = ()) -> Document:
    """Return the body of an edit, without attributes of the server or of the add. Raises SchemaError, PayloadTooLarge.

    To delete an attribute that each job must have is an error; to delete an attribute of the server has no effect, as
    on SlipStream's server.
    """
    change = _checked(set)
    for name in delete:
        if name in REQUIRED and name not in change:
            raise SchemaError(name, "cannot be deleted")
    return {name: value for name, value in change.items() if name not in AT_ADD}


def _checked(body: Any) -> Document:
    """Return the attributes of a body that clients set. Raises SchemaError, PayloadTooLarge."""
    check_shape(body, Job, "job", EXPECTED)
    if not MOMENTS.isdisjoint(body):
        for name in MOMENTS & body.keys():
            _check_moment(name, body[name])
    return {name: value for name, value in body.items() if name not in SET_BY_SERVER}


def check_shape(body: Any, shape: type, whole: str, words: Mapping[str, str]) -> None:
    """Check a body against its shape and the limits of values. Raises SchemaError, PayloadTooLarge.

    `whole`: the name of the body. `words`: what is expected of each attribute.
    """
    try:
        msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise _explained(str(error), whole, words) from None
    _check_sizes(body)


def _check_sizes(body: Mapping[str, Any]) -> None:
    """Raise SchemaError, PayloadTooLarge for a value above its limit."""
    if _LIMITED.isdisjoint(body):
        return
    for name in _LIMITED & body.keys():
        if len(msgspec.json.encode(body[name])) > LIMITS[name]:
            too_large = PayloadTooLarge if name == "payload" else SchemaError
            raise too_large(name, f"expected at most {LIMITS[name] // 1024} KB")


def _check_moment(name: str, value: str) -> None:
    try:
        moment(value, now())
    except ValueError as error:
        raise SchemaError(name, f"expected {EXPECTED[name]} ({error})") from None


_PLACED = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def _explained(said: str, whole: str, words: Mapping[str, str]) -> SchemaError:
    """Return the error for a text of msgspec, with the attribute and the expected value."""
    placed = _PLACED.fullmatch(said)
    what, path = (placed["what"], placed["path"] or "") if placed else (said, "")
    if unknown := _UNKNOWN.fullmatch(what):
        name = repr(unknown[1][:100])[1:-1]
        return SchemaError(f"{path}.{name}" if path else name, "unknown attribute")
    if not path:
        return SchemaError(whole, "expected a JSON object")
    expected = words[re.split(r"[.\[]", path)[0]]
    said = what[:1].lower() + what[1:]
    told = "regex" in said or "length" in said
    return SchemaError(path, f"expected {expected}" if told else f"expected {expected} ({said})")
