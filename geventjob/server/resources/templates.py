"""`session-template` and `credential-template`: the ways to log in, and the credentials that can be made."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

from geventjob.cimi.document import KEY_LOG_IN, NEW_KEY, RESOURCE_URI, USER_LOG_IN, Document
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.api_keys import TYPE
from geventjob.server.document import new_document
from geventjob.server.http.response import set_json
from geventjob.server.problem import not_found

_ACL = acl("ROLE", "ADMIN", [("ROLE", "ANON", "VIEW")])


class TemplateResource:
    """A constant collection of templates, open to anonymous clients."""

    def __init__(self, kind: str, templates: Sequence[Document]) -> None:
        """`kind`: the resource that the templates make, `Session`."""
        self._kind = kind
        self._templates = {template["id"]: template for template in templates}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one template."""
        id = f"{self._kind.lower()}-template/{name}"
        if id not in self._templates:
            raise not_found(id)
        set_json(resp, self._templates[id])

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with all templates; the parameters of a search are ignored, since the templates are so few."""
        answer = {
            "count": len(self._templates),
            "id": f"{self._kind.lower()}-template",
            "resourceURI": f"{RESOURCE_URI}{self._kind}TemplateCollection",
            "acl": _ACL,
            f"{self._kind.lower()}Templates": list(self._templates.values()),
        }
        set_json(resp, answer)

    on_put_all = on_get_all


def session_templates() -> TemplateResource:
    """Return the templates of log-ins: by password, and by API key."""
    internal = new_document(USER_LOG_IN, "SessionTemplate", _ACL) | {
        "method": "internal",
        "instance": "internal",
        "name": "Internal",
        "description": "Log in with a username and a password.",
        "username": "username",
        "password": "password",
    }
    api_key = new_document(KEY_LOG_IN, "SessionTemplate", _ACL) | {
        "method": "api-key",
        "instance": "api-key",
        "name": "API key",
        "description": "Log in with an API key and its secret.",
        "key": "key",
        "secret": "secret",
    }
    return TemplateResource("Session", [internal, api_key])


def credential_templates() -> TemplateResource:
    """Return the template of a new API key."""
    generate = new_document(NEW_KEY, "CredentialTemplate", _ACL) | {
        "type": TYPE,
        "method": "generate-api-key",
        "name": "API key",
        "description": "Makes an API key; ttl is the seconds after which it ends, 0 for never.",
        "ttl": 0,
    }
    return TemplateResource("Credential", [generate])
