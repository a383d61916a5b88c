#!/usr/bin/env bash
# SQLite's busy timeout counts the sleeps that it asked for, not the time that passed. A signal ends a sleep early, and the
# sleep counts in full. In a process with a periodic signal (a sampling profiler, a scheduler of time slices, an interval timer)
# sqlite3.connect(timeout=5) therefore gives up after a fraction of 5 s with "database is locked".
#
# Seen (CPython 3.11.7, SQLite 3.40.1): 5.0 s without signals, 0.6 s with a signal every 10 ms
set -euo pipefail
python3 - <<'PYTHON'
import os
import signal
import sqlite3
import tempfile
import time


def seconds_until_locked(file):
    waiting = sqlite3.connect(file, timeout=5, isolation_level=None)
    start = time.monotonic()
    try:
        waiting.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        assert str(error) == "database is locked"
    return time.monotonic() - start


with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, "example.db")
    holding = sqlite3.connect(file, isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    quiet = seconds_until_locked(file)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    signalled = seconds_until_locked(file)
    signal.setitimer(signal.ITIMER_REAL, 0)
print(f"SQLite {sqlite3.sqlite_version}: {quiet:.1f} s without signals, {signalled:.1f} s with a signal every 10 ms")
assert quiet > 4.5
assert signalled < 2.5, "the timeout holds now"
PYTHON
