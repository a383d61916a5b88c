#!/usr/bin/env bash
# BatchSpanProcessor of opentelemetry-sdk 1.45.2 starts its thread anew in each forked child, by `os.register_at_fork`. In a
# process that gevent 26.9.0 has patched, the start of a thread waits, so the hub of the child turns: other greenlets of the
# parent run in the child, also in the child of a subprocess between fork and exec. A program that only starts commands
# would not expect its other greenlets to run twice.
#
# Seen for 10 commands: without the processor the other greenlet ran in 0 children, with it in 10.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 gevent==26.9.0
cd "$folder"
cat > commands.py <<'PYTHON'
from gevent import monkey

monkey.patch_all()

import os
import subprocess
import sys

import gevent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if sys.argv[1] == "with":
    TracerProvider().add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
parent, works = os.getpid(), True


def other():
    while works:
        with open(sys.argv[1], "a") as file:
            file.write(f"{os.getpid()}\n")
        gevent.sleep(0)


greenlet = gevent.spawn(other)
gevent.sleep(0.01)
for _ in range(10):
    subprocess.run(["true"])
works = False
greenlet.join()
print(len({*open(sys.argv[1]).read().split()} - {str(parent)}))
PYTHON
without=$(venv/bin/python commands.py without)
with=$(venv/bin/python commands.py with)
echo "the other greenlet ran in $without children without the processor, in $with with it"
[ "$without" = 0 ] || { echo "gevent has changed"; exit 1; }
[ "$with" != 0 ] || { echo "opentelemetry-sdk has changed"; exit 1; }
