#!/usr/bin/env bash
# CPython keeps the list of objects whose repr() is in progress per native thread, to show a list that holds itself as [...].
# Greenlets of gevent 26.9.0 share their thread, so while one greenlet waits in the __repr__ of an item, every other greenlet
# gets [...] for the same list: a log line without its content, or a wrong key where repr() makes keys. Native threads get the
# whole list.
#
# Seen for two repr() of [1, item] at once: greenlets "[1, item]" and "[...]", threads "[1, item]" twice
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import time
from concurrent.futures import ThreadPoolExecutor

import gevent


class Item:
    def __init__(self, sleep):
        self.sleep = sleep

    def __repr__(self):
        self.sleep(0.2)  # asks a server for its name, say
        return "item"


shared = [1, Item(gevent.sleep)]
greenlets = [greenlet.get() for greenlet in [gevent.spawn(repr, shared), gevent.spawn(repr, shared)]]
shared = [1, Item(time.sleep)]
with ThreadPoolExecutor(2) as pool:
    threads = list(pool.map(repr, [shared, shared]))
print("greenlets", greenlets, "threads", threads)
assert greenlets == ["[1, item]", "[...]"], "greenlets have changed"
assert threads == ["[1, item]", "[1, item]"], "threads have changed"
PYTHON
