"""A real nginx before a job server, with a limit on bodies, as operators have one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.fleet import until
from tests.support.job_server import Caller
from tests.support.ports import free_port

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""
SERVER = """
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size {limit};
        location / {{ proxy_pass http://127.0.0.1:{server_port}; }}
    }}
"""


@contextlib.contextmanager
def nginx(folder: Path, server_port: int, limit: str) -> Iterator[str]:
    """Serve before `server_port`; `limit` is nginx's `client_max_body_size`. Yields the URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = SERVER.format(port=port, server_port=server_port, limit=limit)
    with running(folder / f"nginx-{port}", server, lambda: _answers(url)):
        yield url


@contextlib.contextmanager
def running(folder: Path, server: str, ready: Callable[[], bool]) -> Iterator[None]:
    """Run nginx with a `server` block, in a folder that is made, once `ready` is true."""
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, server=server))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(file)], stderr=stderr)
    try:
        until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, (folder / "stderr").read_text()
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(Caller(url).get("/api/cloud-entry-point").status_code == 200)
    return False
