"""`session-template`: the ways to log in (CIMI.md §2)."""

from __future__ import annotations

import falcon

from geventjob.server.access import acl
from geventjob.server.answer import give
from geventjob.server.document import URI, Document, born
from geventjob.server.problem import not_found

INTERNAL = "session-template/internal"

_ACL = acl("ROLE", "ADMIN", [("ROLE", "ANON", "VIEW")])


class SessionTemplates:
    """Open to everybody."""

    def __init__(self) -> None:
        self._templates: dict[str, Document] = {INTERNAL: _internal()}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        id = f"session-template/{name}"
        if id not in self._templates:
            raise not_found(id)
        give(resp, self._templates[id])

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As a PUT: what it would search for is not looked at, since there is one."""
        answer = {
            "count": len(self._templates),
            "id": "session-template",
            "resourceURI": f"{URI}SessionTemplateCollection",
            "acl": _ACL,
            "sessionTemplates": list(self._templates.values()),
        }
        give(resp, answer)

    on_put_all = on_get_all


def _internal() -> Document:
    return born(INTERNAL, "SessionTemplate", _ACL) | {
        "method": "internal",
        "instance": "internal",
        "name": "Internal",
        "description": "Log in with a username and a password.",
        "username": "username",
        "password": "password",
    }
