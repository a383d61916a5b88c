"""JSON bodies. A value that JSON cannot hold is an error of the caller and never goes out as another value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

SURROGATE = re.compile("[\ud800-\udfff]")


def encoded(document: Any) -> bytes:
    """Return a document as JSON.

    Raises ValueError for a number that JSON lacks (NaN, infinity), with its place, such as `payload.sizes[2]`: msgspec
    would send null. Raises TypeError for a value of another type. Half of a surrogate pair, as `os.fsdecode` makes of
    bytes that are no text, has no UTF-8 and becomes U+FFFD.
    """
    _check(document, "")
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(document))


def _as_text(value: Any) -> Any:
    """Return a copy of a document with U+FFFD for each half of a surrogate pair in its texts and names."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_as_text(name): _as_text(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(inner) for inner in value]
    return value


def _check(value: Any, place: str) -> None:
    """Raise ValueError if `value`, at `place`, contains a number that JSON lacks."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{place or 'the document'}: {value} is no number of JSON")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, (float, Mapping, list, tuple)):
                _check(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            if isinstance(inner, (float, Mapping, list, tuple)):
                _check(inner, f"{place}[{index}]")
