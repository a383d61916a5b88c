"""Errors that no code catches: in the main thread, in native threads, in greenlets and in finalizers."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import gevent
from gevent import monkey

log = logging.getLogger(__package__)


def log_uncaught_errors(program: str, where: str) -> None:
    """Log errors that no code catches; print the error that ends the process as a line on stderr too.

    `where`: the end of the line on stderr, which names the log file; without it the log goes to stderr anyway.
    """

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("%s ends on an error that nothing caught", program, exc_info=(kind, error, trace))
        if where:
            print(f"{program}: {kind.__name__}: {error}{where}".replace("\n", " "), file=sys.stderr)

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value and not isinstance(args.exc_value, SystemExit):
            log.error("a thread ended on an error", exc_info=args.exc_value)

    def greenlet_ended(context: Any, kind: Any, error: Any, trace: Any) -> None:
        log.error("%r ended on an error", context, exc_info=(kind, error, trace), extra={"greenlet": context})

    def ignored(args: sys.UnraisableHookArgs) -> None:
        log.error("%s: %r", args.err_msg or "an error was ignored in", args.object, exc_info=args.exc_value)

    sys.excepthook = ended
    threading.excepthook = thread_ended
    sys.unraisablehook = ignored
    if monkey.is_module_patched("socket"):
        gevent.get_hub().print_exception = greenlet_ended  # type: ignore[method-assign,assignment]
