"""Calls of handlers and listeners, whose errors must not end the greenlets of coordination."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import gevent

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]


def tell(listener: Callable[[Any], None], news: Any) -> None:
    """Call a listener of coordination. Log its error."""
    try:
        listener(news)
    except Exception:
        log.exception("a listener of coordination failed")


def handle(handler: Handler, message: str | bytes) -> None:
    """Call the handler of an inbox with a JSON message. Log its error, and the start of a message that is no object."""
    try:
        document = json.loads(message)
        if not isinstance(document, dict):
            raise TypeError("a JSON object is expected")
        handler(document)
    except (Exception, gevent.Timeout):
        text = message if isinstance(message, str) else message.decode(errors="replace")
        log.exception("a message could not be handled and is dropped: %.200s", text)
