#!/usr/bin/env bash
# With gevent 26.9.0 a context variable is lost in what a greenlet spawns: gevent.spawn and threading.Thread (patched) both
# begin with an empty context, though the greenlet that spawns has its own. asyncio.create_task copies the context of its
# caller, so a job id kept in a ContextVar for log lines works there and vanishes here. `spawn_tree_locals`, an attribute of
# gevent's own greenlets, is handed on by gevent.spawn.
#
# Seen: gevent.spawn - thread - asyncio job-1, tree locals job-1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
"$folder/venv/bin/python" - <<'PYTHON'
from gevent import monkey

monkey.patch_all()
import asyncio
import contextvars
import threading

import gevent

job = contextvars.ContextVar("job", default="-")
seen = {}


def note(name):
    seen[name] = job.get()


def action():
    job.set("job-1")
    gevent.getcurrent().spawn_tree_locals = {"job": "job-1"}
    gevent.spawn(note, "gevent.spawn").join()
    thread = threading.Thread(target=note, args=("thread",))
    thread.start()
    thread.join()
    child = gevent.spawn(lambda: seen.update(tree=gevent.getcurrent().spawn_tree_locals.get("job")))
    child.join()


async def task():
    job.set("job-1")
    await asyncio.create_task(child())


async def child():
    note("asyncio")


gevent.spawn(action).get()
asyncio.run(task())
print(seen)
assert seen == {"gevent.spawn": "-", "thread": "-", "tree": "job-1", "asyncio": "job-1"}, "this has changed"
PYTHON
