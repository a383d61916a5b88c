"""Request bodies: read whole, within bounds on size, time and content type."""

from __future__ import annotations

import falcon
import gevent

from geventjob.server.http.admission import HEAVY_WORK, LARGE_BODIES, LARGE_BODY, admit
from geventjob.server.problem import Problem

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

MAX_BODY = 1 << 20
"""Largest ordinary body, in bytes."""
MAX_BULK_BODY = 4 << 20
"""Largest body of a bulk request, in bytes (docs/reference/api.md, "Bulk requests")."""
MAX_FORM = 64 * 1024
"""Largest form, and largest log-in, in bytes."""
BODY_TIMEOUT = 30.0
"""Seconds in which a body must arrive."""


def read_body(req: falcon.Request, limit: int = MAX_BODY, *types: str) -> bytes:
    """Return the whole body; empty for a request without a body.

    `limit`: bytes. `types`: the content types to accept, JSON by default. Raises Problem 400 (incomplete, not HTTP),
    408 (too slow), 413 (too large), 415 (another content type, none, or compressed), 503 (too many large bodies).
    """
    length = req.content_length
    if length is None and "HTTP_TRANSFER_ENCODING" not in req.env:
        return b""
    if length is not None and length > limit:
        raise _too_large(limit)
    if length != 0:
        _check_type(req, types or (JSON,))
    is_large = limit > LARGE_BODY and (length is None or length > LARGE_BODY)
    if is_large:
        admit(req, LARGE_BODIES, req.context.caller)
    data = _read(req, limit)
    if len(data) > limit:
        raise _too_large(limit)
    if is_large:
        admit(req, HEAVY_WORK, req.context.caller)
    return data


def text(data: bytes) -> str:
    """Return a form as text. Raises Problem 400 if the form is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Problem(400, "the form in the body is not UTF-8") from None


def _read(req: falcon.Request, limit: int) -> bytes:
    try:
        with gevent.Timeout(BODY_TIMEOUT, TimeoutError):
            data: bytes = req.env["wsgi.input"].read(limit + 1)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_TIMEOUT:g} seconds", close=True) from None
    except OSError as error:
        raise Problem(400, f"the body cannot be read: {error}", close=True) from None
    return data


def _check_type(req: falcon.Request, types: tuple[str, ...]) -> None:
    """Raise Problem 415 for another content type or encoding.

    A browser sends forms of other sites without asking the server first, but only with the type of a form, or none.
    """
    given = (req.content_type or "").partition(";")[0].strip().lower()
    if given not in types:
        said = f"the body is {given[:80]}" if given else "the body has no Content-Type"
        raise Problem(415, f"{said}: expected {' or '.join(types)}")
    coding = (req.get_header("Content-Encoding") or "identity").strip().lower()
    if coding != "identity":
        raise Problem(415, f"Content-Encoding is {coding[:40]}: send the body as it is, without one")


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes", close=True)
