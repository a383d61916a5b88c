"""JSON bodies: decode within bounds on their values and depth, with turns for other requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import gevent
import msgspec
from gevent.lock import BoundedSemaphore
from msgspec import Struct

from geventjob.server.problem import Problem, invalid

DEPTH = 32
"""Objects and arrays within each other, in what may have any shape."""
VALUES = 200_000
"""Values in a body: each costs the more memory and time, the smaller it is."""
BREATH = 128 * 1024
"""Bytes that are looked through in one go, a ms."""
SMALL = 16 * 1024
"""Bytes of what is decode at once, some 0.1 ms."""

_one = BoundedSemaphore(1)

Shape = TypeVar("Shape", bound=Struct)


def decode(data: bytes) -> Any:
    """JSON of any shape, but of VALUES at most. Raises Problem 400."""
    return _decode(data, Any)


def _decode(data: bytes, shape: Any) -> Any:
    if _has_too_many(data):
        raise Problem(400, f"the body has more than {VALUES} values")
    try:
        with _turn(len(data)):
            return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"Malformed JSON in request body. {error}") from None
    except RecursionError:
        raise too_deep() from None


def decode_as(shape: type[Shape], data: bytes) -> Shape:
    """A body of this shape. Raises Problem 400 that tells where it does not fit."""
    return cast(Shape, _decode(data, shape))


def convert(shape: type[Shape], value: Any) -> Shape:
    """What was decode, if it has this shape. Raises Problem 400."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def _has_too_many(data: bytes) -> bool:
    """Whether these are more than VALUES values: counted by what separates them, with turns for others meanwhile."""
    if _commas(data) <= VALUES:
        return False
    commas, end, breath = 0, 0, 0
    while commas <= VALUES and (stretch := _STRETCH.match(data, end)):
        commas += _STRING.sub(b"", stretch[0]).count(b",")
        end = stretch.end()
        if end > breath:
            breath = end + BREATH // 8
            gevent.sleep(0)
    return commas > VALUES


def _commas(data: bytes) -> int:
    """How many there are, in strings too; more than VALUES are not counted to the end."""
    commas = 0
    for start in range(0, len(data), BREATH):
        commas += data.count(b",", start, start + BREATH)
        if commas > VALUES:
            break
    return commas


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STRETCH = re.compile(rb'(?:[^"]{1,1024}|"[^"\\]*(?:\\.[^"\\]*)*"){1,200}', re.DOTALL)
"""Whole strings, and what stands between them."""


def too_deep() -> Problem:
    return Problem(400, f"the body is nested too deeply: {DEPTH} levels at most")


@contextmanager
def _turn(size: int) -> Iterator[None]:
    """Wait until nobody else decodes or encodes much, if this is much (`size` in bytes)."""
    if size <= SMALL:
        yield
        return
    with _one:
        gevent.sleep(0)
        yield
