"""The API as SlipStream's actions and distributors know it: `executor.ss_api`, `job.ss_api` (docs/slipstream.md).

Calls, responses and errors are those of SlipStream's old Python client. Log-in and connections need no calls, and no
operation is looked up before use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from geventjob.cimi.client import Client
from geventjob.cimi.document import Document
from geventjob.cimi.errors import Refused, ServerAway

try:  # an action that catches the old client's error must catch ours
    from slipstream.api import SlipStreamError as _OldError  # type: ignore[import-untyped,unused-ignore]
except ImportError:
    _OldError = Exception

T = TypeVar("T")

SEARCH = ("first", "last", "filter", "select", "expand", "orderby", "aggregation")
SUMMITS = re.compile(r"(.)([A-Z][a-z]+)"), re.compile(r"([a-z0-9])([A-Z])")


@dataclass(frozen=True)
class ErrorResponse:
    """The HTTP response of an error, as far as it is kept."""

    status_code: int
    message: str
    reason: str | None = None
    resource_id: str | None = None

    @property
    def text(self) -> str:
        return json.dumps(self.json())

    def json(self) -> Document:
        body: Document = {"status": self.status_code, "message": self.message}
        more = {"reason": self.reason, "resource-id": self.resource_id}
        return body | {name: value for name, value in more.items() if value is not None}


class SlipStreamError(_OldError):  # type: ignore[misc]
    """The server refused or failed: `reason` in words, and `response.status_code`.

    A server out of reach is ServerAway, as everywhere: there is no response.
    """

    def __init__(self, reason: str, response: ErrorResponse) -> None:
        Exception.__init__(self, reason)
        self.reason = reason
        self.response = response


class CimiResponse:
    """A JSON object with its fields as attributes (`statusMessage` as `status_message`). `json` is the object."""

    def __init__(self, json: Document) -> None:
        self.json = json
        for key, value in json.items():
            name = snake(key)
            if not hasattr(self, name):
                setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:  # for type checkers: any attribute may be there
        raise AttributeError(f"{type(self).__name__} has no {name!r}: it has {', '.join(self.json)}")

    def __str__(self) -> str:
        return f"{type(self).__name__}:\n" + "\n".join(f"{key}: {str(v)[:80]}" for key, v in sorted(self.json.items()))


class CimiResource(CimiResponse):
    """A resource, with its operations by `rel`."""

    @property
    def operations_by_name(self) -> dict[str, Document]:
        return {operation["rel"]: operation for operation in self.json.get("operations", []) if "rel" in operation}


class CimiCollection(CimiResource):
    """A page of a search: `count` (of all matches), and the resources of the page by iteration."""

    def __init__(self, json: Document, resource_type: str) -> None:
        super().__init__(json)
        self.resource_type = resource_type
        self.resources_list = [CimiResource(item) for item in json.get(resource_type, [])]

    def resources(self) -> Iterator[CimiResource]:
        return iter(self.resources_list)

    def __iter__(self) -> Iterator[CimiResource]:
        return self.resources()


class SsApi:
    """The calls of the old client.

    Each raises SlipStreamError, ServerAway, LoginRefused; KeyError for a resource type that the server lacks.
    """

    def __init__(self, client: Client, check: Callable[[], None] | None = None) -> None:
        """Keep the client. `check` is called before each request; an exception from it keeps the request back."""
        self._client = client
        self._check = check

    @property
    def endpoint(self) -> str:
        """The address of the server, as given to the client."""
        return self._client.url

    @property
    def username(self) -> str | None:
        """The user of the session; None without a log-in."""
        if self._client.user is not None or self._client.key is None:
            return self._client.user
        page = self._ask(lambda: self._client.search("session"))
        return next((session.get("username") for session in page.get("sessions", [])), None)

    def cimi_get(self, resource_id: str, **params: Any) -> CimiResource:
        select = params.get("select")
        names = [select] if isinstance(select, str) else select
        return CimiResource(self._ask(lambda: self._client.get(resource_id, select=names)))

    def cimi_search(self, resource_type: str, **params: Any) -> CimiCollection:
        known = {name: value for name, value in params.items() if name in SEARCH}
        href = self._entry_point(resource_type)
        return CimiCollection(self._ask(lambda: self._client.search(href, **known)), resource_type)

    def cimi_add(self, resource_type: str, data: Mapping[str, Any]) -> CimiResponse:
        href = self._entry_point(resource_type)
        id = self._ask(lambda: self._client.add(href, data))
        return CimiResponse({"status": 201, "message": f"{id} created", "resource-id": id})

    def cimi_edit(self, resource_id: str, data: Mapping[str, Any], **params: Any) -> CimiResponse:
        select = params.get("select") or ()
        names = [select] if isinstance(select, str) else select
        return CimiResponse(self._ask(lambda: self._client.edit(resource_id, data, delete=names)))

    def cimi_delete(self, resource_id: str) -> CimiResponse:
        return CimiResponse(self._ask(lambda: self._client.delete(resource_id)))

    def cimi_operation(self, resource_id: str, operation: str, data: Mapping[str, Any] | None = None) -> CimiResource:
        return CimiResource(self._ask(lambda: self._client.operation(resource_id, operation, data)))

    def _entry_point(self, resource_type: str) -> str:
        entry_points = self._ask(self._client.entry_points)
        if resource_type not in entry_points:
            raise KeyError(f"Resource type '{resource_type}' not found.")
        return entry_points[resource_type]

    def _ask(self, call: Callable[[], T]) -> T:
        if self._check:
            self._check()
        try:
            return call()
        except Refused as error:
            response = ErrorResponse(error.status, error.message, error.reason, error.resource_id)
            raise SlipStreamError(error.message, response) from error
        except ServerAway as error:
            if error.status is None:
                raise
            raise SlipStreamError(str(error), ErrorResponse(error.status, str(error))) from error


def snake(name: str) -> str:
    """Return a name in snake case: `resourceURI` → `resource_uri`."""
    for summit in SUMMITS:
        name = summit.sub(r"\1_\2", name)
    return name.lower()
