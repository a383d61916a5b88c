"""Documents as responses, with the operations of the caller: one document, or a page with the count of all matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import falcon

from geventjob.cimi.document import RESOURCE_URI, Document
from geventjob.server.document import public, select_attributes
from geventjob.server.http.response import encode_items
from geventjob.server.resources.search_parameters import parameters, selection
from geventjob.server.store.base import Page


def collection(
    kind: str,
    page: Page,
    *,
    acl: Document,
    operations: Sequence[Document],
    item_operations: Callable[[Document], Sequence[Document]],
    select: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the response to a search; the documents are under the plural of `kind`. Raises Problem 413."""
    answer: dict[str, Any] = {
        "count": page.count,
        "id": kind,
        "resourceURI": f"{RESOURCE_URI}{kind.capitalize()}Collection",
        "acl": acl,
        f"{kind}s": encode_items(_item(document, item_operations(document), select) for document in page.documents),
    }
    if operations:
        answer["operations"] = operations
    if page.aggregations:
        answer["aggregations"] = page.aggregations
    return answer


def one(req: falcon.Request, document: Document, operations: Sequence[Document]) -> Document:
    """Return the response to a request for one document: the attributes that `$select` names, and the operations."""
    part = select_attributes(public(document), selection(parameters(req)))
    return part | {"operations": operations}


def _item(document: Document, operations: Sequence[Document], select: Sequence[str] | None) -> Document:
    item = select_attributes(public(document), select)
    if operations:
        item["operations"] = operations
    return item
