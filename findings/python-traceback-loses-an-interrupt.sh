#!/usr/bin/env bash
# CPython's traceback module (seen with 3.11.7) calls str() of an exception under a bare `except:`. KeyboardInterrupt and
# SystemExit that are raised meanwhile vanish, and so does a time-out that a signal handler or a greenlet raises: formatting
# goes on with "<exception str() failed>". A Ctrl-C that comes while logging.exception() formats is lost without a trace. str()
# itself passes such an exception on.
#
# Seen: str() raises KeyboardInterrupt; logging.exception() returns, and the log says <exception str() failed>
set -euo pipefail
python3 - <<'PYTHON'
import io
import logging
import signal
import sys

log = io.StringIO()
logging.basicConfig(stream=log)


class SlowToDescribe(Exception):
    def __str__(self):
        signal.raise_signal(signal.SIGINT)  # Ctrl-C, while the text is made
        return "a text"


error = SlowToDescribe()
try:
    str(error)
except KeyboardInterrupt:
    print("str() raises KeyboardInterrupt")
else:
    sys.exit("str() has changed")
try:
    raise error
except SlowToDescribe:
    try:
        logging.exception("failed")
    except KeyboardInterrupt:
        sys.exit("traceback has changed")
last = log.getvalue().splitlines()[-1]
print("logging.exception() returns:", last)
assert last.endswith("SlowToDescribe: <exception str() failed>"), "traceback has changed"
PYTHON
