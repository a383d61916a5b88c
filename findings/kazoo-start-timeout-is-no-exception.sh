#!/usr/bin/env bash
# kazoo 2.11.0 with its gevent handler: KazooClient.start(timeout) raises, when no server answers, an object that is no
# Exception. The class is a subclass of gevent.Timeout, which derives from BaseException, and its text is empty. `except
# Exception` around the start, as any program would write it, lets it through and the greenlet dies of it; with the threading
# handler the same call raises a TimeoutError that is an Exception.
#
# Seen: gevent handler: Exception False, text ''; threading handler: Exception True, text 'Connection time-out'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kazoo==2.11.0 gevent==26.9.0
cat > "$folder/start.py" <<'PYTHON'
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
    from kazoo.handlers.gevent import SequentialGeventHandler as Handler
else:
    from kazoo.handlers.threading import SequentialThreadingHandler as Handler
import socket

from kazoo.client import KazooClient

with socket.socket() as silent:  # accepts nothing and answers nothing
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    client = KazooClient(f"127.0.0.1:{silent.getsockname()[1]}", handler=Handler())
    try:
        client.start(timeout=1)
    except BaseException as error:
        print(isinstance(error, Exception), repr(str(error)))
PYTHON
of_gevent=$("$folder/venv/bin/python" "$folder/start.py" gevent 2>/dev/null)
of_threading=$("$folder/venv/bin/python" "$folder/start.py" threading 2>/dev/null)
echo "gevent handler: $of_gevent; threading handler: $of_threading"
[ "$of_gevent" = "False ''" ] || { echo "the gevent handler has changed"; exit 1; }
[ "$of_threading" = "True 'Connection time-out'" ] || { echo "the threading handler has changed"; exit 1; }
