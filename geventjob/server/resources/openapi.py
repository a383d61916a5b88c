"""`openapi.json`: the API for programs, in OpenAPI 3.1, made from the routes and from the shapes of the bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import falcon
import msgspec

from geventjob.cimi.document import COOKIE, WINDOW, Document
from geventjob.job.attributes import ATTRIBUTES
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.response import set_json
from geventjob.server.life.schema import Job
from geventjob.server.resources.operations import ERRORS, REQUESTS, ApiRequest

METHODS = ("GET", "PUT", "POST", "DELETE")
SEARCH = {
    "$filter": ({"type": "string"}, "a filter, as state='QUEUED'"),
    "$first": ({"type": "integer", "minimum": 1, "maximum": 999_999_999}, "the first match, counted from 1"),
    "$last": ({"type": "integer", "minimum": 0, "maximum": WINDOW}, "the last match; 0 gives the count alone"),
    "$orderby": ({"type": "string"}, "attribute:desc,…"),
    "$select": ({"type": "string"}, "attribute,attribute/inner"),
    "$aggregation": ({"type": "string"}, "terms:state,max:priority"),
}
"""Parameter of a search → its schema and meaning."""
SCHEMAS: Document = {
    "Document": {"type": "object"},
    "Result": {
        "type": "object",
        "properties": {
            "status": {"type": "integer"},
            "message": {"type": "string"},
            "resource-id": {"type": "string"},
        },
        "required": ["status", "message", "resource-id"],
    },
    "Collection": {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 0}, "id": {"type": "string"}},
        "required": ["count", "id", "resourceURI", "acl"],
    },
    "Problem": {
        "type": "object",
        "properties": {
            "status": {"type": "integer"},
            "message": {"type": "string"},
            "resource-id": {"type": "string"},
            "reason": {"type": "string"},
            "job": {"type": "object"},
        },
        "required": ["status", "message"],
        "additionalProperties": False,
    },
}
"""Schemas of answers; `JobDocument` comes from the attributes of a job."""


REFERENCE = "#/components/schemas/{name}"


class Route(NamedTuple):
    """A method of a path, and the function that answers."""

    method: str
    path: str
    responder: Callable[..., Any]


def routes(template: str, resource: object, suffix: str | None = None) -> Iterator[Route]:
    """Yield what `add_route` of falcon adds with these arguments."""
    path = re.sub(r"{(\w+):path}", r"{\1}", template)
    for method in METHODS:
        responder = getattr(resource, f"on_{method.lower()}" + (f"_{suffix}" if suffix else ""), None)
        if responder is not None:
            yield Route(method, path, responder)


class OpenApiResource:
    """The description of the API, for all who have logged in."""

    def __init__(self, routes: Iterable[Route], version: str, sessions: Sessions) -> None:
        """`routes` may grow until the first request."""
        self._routes = routes
        self._version = version
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the description of this API."""
        self._sessions.caller_of(req).require_role("USER")
        set_json(resp, self._description)

    @cached_property
    def _description(self) -> Document:
        return description(self._routes, self._version)


def description(routes: Iterable[Route], version: str) -> Document:
    """Return the description of these routes, as an OpenAPI document."""
    paths: dict[str, Document] = {}
    for route in routes:
        request = REQUESTS.get((route.method, route.path))
        if request is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, request)
    return {
        "openapi": "3.1.0",
        "info": {"title": "geventjob", "version": version},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS | _schemas(),
            "responses": {str(status): _problem(status) for status in ERRORS},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "key": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"session": []}, {"key": []}],
    }


def _operation(route: Route, request: ApiRequest) -> Document:
    """Return the description of one request."""
    names = re.findall(r"{(\w+)}", route.path)
    summary = (route.responder.__doc__ or "").partition("\n")[0].rstrip(".")
    found: Document = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z]+', '_', route.path)}".strip("_"),
        "summary": summary,
        "parameters": [*(_in_path(name, request) for name in names), *_in_query(request)],
        "responses": {str(request.status): _answer(request)}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in ERRORS},
    }
    if body := _body(route.method, request):
        found["requestBody"] = {"content": body}
    return found | ({"security": []} if request.is_open else {})


def _in_path(name: str, request: ApiRequest) -> Document:
    choices = (request.choices or {}).get(name)
    schema = {"enum": list(choices)} if choices else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(request: ApiRequest) -> Iterator[Document]:
    for name, (schema, meaning) in SEARCH.items():
        if request.search or (request.select and name == "$select"):
            yield {"name": name, "in": "query", "schema": schema, "description": meaning}
    for name in request.query:
        yield {"name": name, "in": "query", "schema": {"type": "string"}}


def _body(method: str, request: ApiRequest) -> Document:
    if request.bodies:
        schemas, _ = msgspec.json.schema_components(request.bodies, ref_template=REFERENCE)
        return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": [*schemas]}}}
    if request.search and method == "PUT":
        form = {name: schema for name, (schema, _) in SEARCH.items()}
        return {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": form}}}
    return {}


def _answer(request: ApiRequest) -> Document:
    said = {"description": "success"}
    if not request.answer:
        return said | {"content": {"text/plain": {}, "text/event-stream": {}}}
    return said | {"content": {"application/json": {"schema": {"$ref": REFERENCE.format(name=request.answer)}}}}


def _problem(status: int) -> Document:
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(name="Problem")}}}
    return {"description": ERRORS[status], "content": content}


def _schemas() -> Document:
    """Return the schemas of all bodies, and of a job as an answer."""
    bodies = [body for request in REQUESTS.values() for body in request.bodies]
    _, found = msgspec.json.schema_components(bodies, ref_template=REFERENCE)
    schemas: Document = _portable(found)
    job = {"$ref": REFERENCE.format(name=Job.__name__)}
    for attribute in ATTRIBUTES:
        property = schemas[Job.__name__]["properties"][attribute.name]
        property |= {"description": attribute.help} | ({} if attribute.sent else {"readOnly": True})
    for body in ("BulkAddBody", "BatchBody"):
        schemas[body]["properties"]["jobs"]["items"] = job
    schemas["BatchBody"]["properties"]["callback"] = job
    schemas["BulkEditBody"]["properties"]["edits"]["items"] = {"type": "object"}
    schemas["JobDocument"] = {**schemas[Job.__name__], "required": ["id", "acl"]}
    return schemas


def _portable(schema: Any) -> Any:
    """Return a schema whose patterns are those of JavaScript, which has no `\\Z`."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else _portable(value)
            for name, value in schema.items()
        }
    return [_portable(part) for part in schema] if isinstance(schema, list) else schema
