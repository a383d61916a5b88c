"""`cloud-entry-point`: the collections of this server, the first request of a client."""

from __future__ import annotations

import re

import falcon

from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.http.response import set_json

API = 1
"""Version of the requests that this server adds to SlipStream's API (docs/reference/api.md)."""
COLLECTIONS = {
    "credentials": "credential",
    "credentialTemplates": "credential-template",
    "jobs": "job",
    "sessions": "session",
    "sessionTemplates": "session-template",
    "users": "user",
}

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class EntryPointResource:
    """The entry point, open to anonymous clients."""

    def __init__(self, version: str, base_uri: str | None) -> None:
        """`base_uri`: the server's address, with or without `/api/`; None: taken from each request."""
        self._version = version
        self._base = base_uri and base_uri.rstrip("/").removesuffix("/api") + "/api/"
        self._started = cimi_time(now())

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the collections and the version of the server."""
        document = {
            "id": "cloud-entry-point",
            "resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint",
            "created": self._started,
            "updated": self._started,
            "acl": acl("ROLE", "ADMIN", [("ROLE", "ANON", "VIEW")]),
            "baseURI": self._base or f"{scheme(req)}://{_host(req)}/api/",
            "geventjob": {"version": self._version, "api": API},
        }
        set_json(resp, document | {name: {"href": href} for name, href in COLLECTIONS.items()})


def scheme(req: falcon.Request) -> str:
    """`https` or `http`, as the client sees it: a proxy before us tells."""
    forwarded = req.get_header("X-Forwarded-Proto") or ""
    return "https" if "https" in (forwarded.strip().lower(), req.scheme) else "http"


def _host(req: falcon.Request) -> str:
    port = req.get_header("X-Forwarded-Port")
    forwarded = req.get_header("X-Forwarded-Host")
    if forwarded and port:
        forwarded = f"{forwarded}:{port}"
    for host in (forwarded, req.get_header("Host")):
        if host and _HOST.fullmatch(host):
            return host
    return f"{req.env['SERVER_NAME']}:{req.env['SERVER_PORT']}"
