#!/usr/bin/env bash
# CPython collects garbage once at a time: a collection that begins while another is in progress does nothing. With gevent
# 26.9.0 a finalizer may wait (close a connection in order, send a last message). Meanwhile every collection of the process does
# nothing, in all greenlets: cycles pile up for as long as the finalizer waits, and gc.collect() reports 0.
#
# Seen: gc.collect() finds 0 objects of a cycle while a __del__ waits, and 1 afterwards
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import gc

import gevent


class Cycle:
    __slots__ = ("me", "__weakref__")

    def __init__(self):
        self.me = self


class Waits(Cycle):
    __slots__ = ()

    def __del__(self):
        gevent.sleep(0.5)


gc.disable()
gc.collect()
Waits()
collection = gevent.spawn(gc.collect)
gevent.sleep(0.1)
Cycle()
meanwhile = gc.collect()
collection.join()
afterwards = gc.collect()
print(f"collected while a finalizer waits: {meanwhile}; afterwards: {afterwards}")
assert meanwhile == 0, "this has changed"
assert afterwards > 0, "this has changed"
PYTHON
