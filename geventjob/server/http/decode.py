"""JSON bodies: decoded within bounds on values and depth, with turns for other requests."""

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

MAX_DEPTH = 32
"""Levels of objects and arrays in an attribute of any shape."""
MAX_VALUES = 200_000
"""Most values of a body. Memory and time grow with the number of values rather than with the bytes."""
BYTES_PER_TURN = 128 * 1024
"""Bytes that are scanned between two turns of the event loop, some 1 ms."""
SMALL = 16 * 1024
"""Largest body, in bytes, that is decoded without a turn for others: some 0.1 ms."""

_one_at_a_time = BoundedSemaphore(1)

Shape = TypeVar("Shape", bound=Struct)


def decode(data: bytes) -> Any:
    """Return decoded JSON of any shape. Raises Problem 400, also for more than MAX_VALUES values."""
    return _decode(data, Any)


def _decode(data: bytes, shape: Any) -> Any:
    if _has_too_many(data):
        raise Problem(400, f"the body has more than {MAX_VALUES} values")
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
    """Return decoded JSON of this shape. Raises Problem 400, which names the attribute that does not fit."""
    return cast(Shape, _decode(data, shape))


def convert(shape: type[Shape], value: Any) -> Shape:
    """Return a decoded value in this shape. Raises Problem 400, which names the attribute that does not fit."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def _has_too_many(data: bytes) -> bool:
    """Return whether the JSON has more than MAX_VALUES values, by its commas outside strings."""
    if _commas(data) <= MAX_VALUES:
        return False
    commas, end, next_turn = 0, 0, 0
    while commas <= MAX_VALUES and (stretch := _STRETCH.match(data, end)):
        commas += _STRING.sub(b"", stretch[0]).count(b",")
        end = stretch.end()
        if end > next_turn:
            next_turn = end + BYTES_PER_TURN // 8
            gevent.sleep(0)
    return commas > MAX_VALUES


def _commas(data: bytes) -> int:
    """Return the number of commas, also in strings; stop counting above MAX_VALUES."""
    commas = 0
    for start in range(0, len(data), BYTES_PER_TURN):
        commas += data.count(b",", start, start + BYTES_PER_TURN)
        if commas > MAX_VALUES:
            break
    return commas


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STRETCH = re.compile(rb'(?:[^"]{1,1024}|"[^"\\]*(?:\\.[^"\\]*)*"){1,200}', re.DOTALL)
"""Whole strings, and the bytes between strings."""


def too_deep() -> Problem:
    """Return a 400 for more than MAX_DEPTH levels."""
    return Problem(400, f"the body is nested too deeply: {MAX_DEPTH} levels at most")


@contextmanager
def _turn(size: int) -> Iterator[None]:
    """Decode a body of `size` bytes within the context: large bodies one after another, with a turn before each."""
    if size <= SMALL:
        yield
        return
    with _one_at_a_time:
        gevent.sleep(0)
        yield
