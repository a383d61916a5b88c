#!/usr/bin/env bash
# Celery 5.7.0 ignores soft_time_limit in a worker with the gevent pool, without a word: a task that only waits, and so could
# be interrupted, runs to its end. With the prefork pool the same task gets SoftTimeLimitExceeded. A task that cleans up in its
# `except SoftTimeLimitExceeded` never does so after a move to the gevent pool.
#
# Seen for a task that sleeps 4 s with soft_time_limit=1: prefork "interrupted", gevent "ran to its end"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check celery==5.7.0 gevent==26.9.0
cd "$folder"
mkdir queue
cat > limits.py <<'PYTHON'
import os
import time

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("limits", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}


@app.task(soft_time_limit=1)
def wait(name):
    told = "ran to its end"
    try:
        time.sleep(4)
    except SoftTimeLimitExceeded:
        told = "interrupted"
    with open(f"{name}.new", "w") as file:
        file.write(told)
    os.rename(f"{name}.new", name)
PYTHON
for pool in prefork gevent; do
    venv/bin/python -c "from limits import wait; wait.delay('$pool')"
    C_FORCE_ROOT=1 venv/bin/celery -A limits worker -P "$pool" -c 2 -l error > "$pool.log" 2>&1 &
    worker=$!
    for _ in $(seq 600); do [ -e "$pool" ] && break; sleep 0.1; done
    kill "$worker"; wait "$worker" || true
    echo "$pool: $(cat "$pool")"
done
[ "$(cat prefork)" = "interrupted" ] || { echo "the prefork pool has changed"; exit 1; }
[ "$(cat gevent)" = "ran to its end" ] || { echo "the gevent pool has changed"; exit 1; }
