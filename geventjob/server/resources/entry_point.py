"""`cloud-entry-point`: the collections of this server, the first request of a client."""

from __future__ import annotations

import falcon

from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.http.client_address import api_address
from geventjob.server.http.response import set_json

API = 1
"""Version of the requests that this server adds to SlipStream's API (docs/reference/api.md)."""
COLLECTIONS = {
    "credentials": "credential",
    "credentialTemplates": "credential-template",
    "events": "event",
    "jobs": "job",
    "limits": "limit",
    "pauses": "pause",
    "schedules": "schedule",
    "sessions": "session",
    "sessionTemplates": "session-template",
    "users": "user",
}


class EntryPointResource:
    """The entry point, open to anonymous clients."""

    def __init__(self, version: str, base_uri: str | None) -> None:
        """`base_uri`: the server's address, with or without `/api/`; None: taken from each request."""
        self._version = version
        self._base_uri = base_uri
        self._started = cimi_time(now())

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the collections and the version of the server."""
        document = {
            "id": "cloud-entry-point",
            "resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint",
            "created": self._started,
            "updated": self._started,
            "acl": acl("ROLE", "ADMIN", [("ROLE", "ANON", "VIEW")]),
            "baseURI": api_address(req, self._base_uri),
            "geventjob": {"version": self._version, "api": API},
        }
        set_json(resp, document | {name: {"href": href} for name, href in COLLECTIONS.items()})
