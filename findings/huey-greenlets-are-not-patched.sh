#!/usr/bin/env bash
# huey 3.5.4 with `-k greenlet` starts its workers as greenlets but does not patch the standard library. A task that waits in
# time.sleep, requests or a database driver keeps the one native thread, so that tasks run one after another however many
# workers there are, without a warning. The consumers of Celery and Dramatiq with gevent patch by themselves. Patch first in the
# module of the tasks.
#
# Seen for four tasks that sleep 1 s, four workers: threads 1.0 s, greenlets 4.0 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huey==3.5.4 gevent==26.9.0
cd "$folder"
cat > tasks.py <<'PYTHON'
import os
import time

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["QUEUE"])


@huey.task()
def wait(number):
    start = time.monotonic()
    time.sleep(1)
    with open(f"{os.environ['QUEUE']}.{number}", "w") as file:
        file.write(f"{start} {time.monotonic()}")
PYTHON
cat > span.py <<'PYTHON'
import pathlib
import sys

times = [list(map(float, file.read_text().split())) for file in pathlib.Path().glob(f"{sys.argv[1]}.db.[0-3]")]
print(f"{max(end for _, end in times) - min(start for start, _ in times):.1f}")
PYTHON
for kind in thread greenlet; do
    export QUEUE="$kind.db"
    venv/bin/python -c "from tasks import wait; [wait(n) for n in range(4)]"
    venv/bin/huey_consumer tasks.huey -k "$kind" -w 4 -n -q > "$kind.log" 2>&1 &
    consumer=$!
    for _ in $(seq 300); do [ "$(find . -name "$kind.db.[0-3]" -size +0 | wc -l)" = 4 ] && break; sleep 0.1; done
    kill -INT "$consumer"; wait "$consumer" || true
done
threads=$(venv/bin/python span.py thread) greenlets=$(venv/bin/python span.py greenlet)
echo "threads $threads s, greenlets $greenlets s"
[ "${threads%.*}" -lt 3 ] || { echo "threads have changed"; exit 1; }
[ "${greenlets%.*}" -ge 3 ] || { echo "greenlets have changed"; exit 1; }
