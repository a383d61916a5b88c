"""JSON bodies: what cannot be said in JSON is an error of the caller, never something else on the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec


def encoded(document: Any) -> bytes:
    """Return a document as JSON.

    Raises ValueError for a number that JSON does not have (NaN, infinity) with its place, as `payload.sizes[2]`;
    msgspec would send null in its stead. Raises TypeError for a value that is no JSON at all.
    """
    _check(document, "")
    return msgspec.json.encode(document)


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
