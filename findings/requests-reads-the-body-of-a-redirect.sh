#!/usr/bin/env bash
# requests 2.34.2 reads the whole body of a redirect although the caller says stream=True and allow_redirects=False. The caller
# wants to look at the head and decide, but get() returns only when the body is complete: as slowly as the server sends, and as
# large as the server likes. The body of any other answer is left alone. To bound a redirect, send through an HTTPAdapter.
#
# Seen for bodies whose last bytes come 2 s after the head: 200 returns after 0.0 s, 302 after 2.0 s with the body read
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check requests==2.34.2
"$folder/venv/bin/python" - <<'PYTHON'
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", "/other")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"abc")
        time.sleep(2)
        self.wfile.write(b"def")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()


def seconds(path):
    start = time.monotonic()
    with requests.get(f"http://127.0.0.1:{server.server_port}{path}", stream=True, allow_redirects=False, timeout=5) as answer:
        return answer.status_code, time.monotonic() - start


for path in ("/answer", "/redirect"):
    status, waited = seconds(path)
    print(f"{status} after {waited:.1f} s")
    assert (waited > 1.5) == (status == 302), "this has changed"
PYTHON
