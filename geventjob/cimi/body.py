"""JSON bodies: what cannot be said in JSON is an error of the caller, never something else on the wire."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

SURROGATE = re.compile("[\ud800-\udfff]")


def encoded(document: Any) -> bytes:
    """Return a document as JSON.

    Raises ValueError for a number that JSON does not have (NaN, infinity) with its place, as `payload.sizes[2]`;
    msgspec would send null in its stead. Raises TypeError for a value that is no JSON at all. What has no UTF-8 (half
    of a surrogate pair, as `os.fsdecode` makes of bytes that are no text) becomes U+FFFD.
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
    """Raise ValueError if there is such a number somewhere in `value`, which stands at `place`."""
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
