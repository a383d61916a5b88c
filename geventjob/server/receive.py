"""Reading what a client sends, within bounds of size and time."""

from __future__ import annotations

import falcon
import gevent

from geventjob.server.problem import Problem

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

BODY = 1 << 20
"""Bytes of an ordinary body."""
BULK = 4 << 20
"""Bytes of a bulk body (DESIGN §6)."""
PATIENCE = 30.0
"""Seconds in which a body must have come."""


def read(req: falcon.Request, limit: int = BODY, *types: str) -> bytes:
    """The whole body; empty if there is none.

    Raises Problem 400 (not one of these content types, JSON unless told; cut short), 408 (too slow), 413 (too large).
    """
    length = req.content_length
    if length is None and "HTTP_TRANSFER_ENCODING" not in req.env:
        return b""
    if length is not None and length > limit:
        raise _too_large(limit)
    data = _read(req, limit)
    if len(data) > limit:
        raise _too_large(limit)
    if data:
        _check_type(req, types or (JSON,))
    return data


def text(data: bytes) -> str:
    """A form as text. Raises Problem 400 if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Problem(400, "the form in the body is not UTF-8") from None


def _read(req: falcon.Request, limit: int) -> bytes:
    try:
        with gevent.Timeout(PATIENCE, TimeoutError):
            data: bytes = req.env["wsgi.input"].read(limit + 1)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {PATIENCE:g} seconds", close=True) from None
    except OSError as error:
        raise Problem(400, f"the body was cut short: {error}", close=True) from None
    return data


def _check_type(req: falcon.Request, types: tuple[str, ...]) -> None:
    given = (req.content_type or types[0]).partition(";")[0].strip().lower()
    if given not in types:
        raise Problem(400, f"the body is {given[:80]}: expected {' or '.join(types)}")


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes", close=True)
