#!/usr/bin/env bash
# coverage 7.17.5 with gevent 26.9.0: with `concurrency = gevent`, the setting for programs that gevent has patched, code that
# runs in gevent's own native threads (hub.threadpool, where blocking work of such programs belongs) counts as never run, without
# a warning. With `concurrency = gevent,thread` the same lines count as run.
#
# Seen for a function that ran once in the thread pool: with gevent its four lines missing, with gevent,thread none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0 coverage==7.17.5
cd "$folder"
cat > program.py <<'PYTHON'
from gevent import monkey

monkey.patch_all()
import gevent


def in_a_native_thread(count):
    total = 0
    for number in range(count):
        total += number
    return total


def in_a_greenlet():
    return "a greenlet ran"


print(gevent.spawn(in_a_greenlet).get())
assert gevent.get_hub().threadpool.apply(in_a_native_thread, (10,)) == 45
PYTHON
for concurrency in gevent gevent,thread; do
    printf '[run]\nconcurrency = %s\n' "$concurrency" > .coveragerc
    venv/bin/coverage run program.py >/dev/null
    venv/bin/coverage json -q -o - > "$concurrency.json"
    missing=$(venv/bin/python -c 'import json, sys; print(*json.load(sys.stdin)["files"]["program.py"]["missing_lines"])' < "$concurrency.json")
    echo "concurrency = $concurrency: lines that count as not run: ${missing:-none}"
    [ "$concurrency" = gevent ] && expected="8 9 10 11" || expected=""
    [ "$missing" = "$expected" ] || { echo "expected: ${expected:-none}"; exit 1; }
done
