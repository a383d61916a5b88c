#!/usr/bin/env bash
# gevent 26.9.0 patches os.close (since 25.8.1): called in the hub, as from the callback of a timer, os.close does not close the
# descriptor but hands it to the event loop, which closes it at its next turn. A loop that has nothing to do turns only when its
# next timer is due. So a callback that closes a connection leaves the peer waiting, for seconds on a quiet server; the original
# os.close ends the connection at once.
#
# Seen: a peer whose connection a timer closes after 0.05 s, beside a sleep of 2 s, reads the end after 2.0 s, with the original
# os.close after 0.1 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
"$folder/venv/bin/python" - <<'PYTHON'
from gevent import monkey

monkey.patch_all()
import os
import socket
import subprocess
import sys

import gevent

PEER = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.recv(1)
start = time.monotonic()
connection.recv(1)
print(time.monotonic() - start)
"""


def seconds_until_the_end(close):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        peer = subprocess.Popen([sys.executable, "-c", PEER, port], stdout=subprocess.PIPE)
        connection, _ = listening.accept()
        descriptor = connection.detach()
        timer = gevent.get_hub().loop.timer(0.05)
        timer.start(close, descriptor)
        os.write(descriptor, b"x")
        gevent.sleep(2)
        return float(peer.communicate()[0])


patched, original = seconds_until_the_end(os.close), seconds_until_the_end(monkey.get_original("os", "close"))
print(f"the peer reads the end after {patched:.1f} s, with the original os.close after {original:.1f} s")
assert patched > 1.5, "the delay is gone"
assert original < 1
PYTHON
