#!/usr/bin/env bash
# With gevent 26.9.0 a child that os.fork() makes goes on with the greenlets of its parent: at the child's first wait, all of
# them run in both processes, with the same sockets and files. POSIX threads, which patched code takes them for, do not survive
# a fork. A greenlet that renews a lease or drains a queue does so twice. subprocess and posix_spawn are not affected.
#
# Seen: a child that sleeps 0.3 s runs the parent's ticking greenlet; with threads, unpatched, nothing of the parent runs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
cat > "$folder/fork.py" <<'PYTHON'
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
import os
import threading
import time

ticks = []


def tick():
    while True:
        ticks.append(os.getpid())
        time.sleep(0.02)


threading.Thread(target=tick, daemon=True).start()
time.sleep(0.1)
child = os.fork()
if child == 0:
    time.sleep(0.3)
    print(f"{sys.argv[1]}: the child {'runs' if os.getpid() in ticks else 'does not run'} the parent's loop", flush=True)
    os._exit(0)
os.waitpid(child, 0)
PYTHON
of_gevent=$("$folder/venv/bin/python" -W ignore "$folder/fork.py" gevent)
of_threads=$("$folder/venv/bin/python" -W ignore "$folder/fork.py" threads)
echo "$of_gevent"; echo "$of_threads"
[ "$of_gevent" = "gevent: the child runs the parent's loop" ] || { echo "gevent has changed"; exit 1; }
[ "$of_threads" = "threads: the child does not run the parent's loop" ] || { echo "threads have changed"; exit 1; }
