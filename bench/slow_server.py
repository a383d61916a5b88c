"""A server on this machine that answers each GET after 100 ms: the work of `bench.peers` and `bench.performance`."""

import sys
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer


def answer(environ: Any, start: Any) -> list[bytes]:
    gevent.sleep(0.1)
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


if __name__ == "__main__":
    WSGIServer(("127.0.0.1", int(sys.argv[1])), answer, log=None, backlog=2048).serve_forever()
