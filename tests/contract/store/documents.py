"""Documents for tests of stores."""

from __future__ import annotations

from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.store.base import Insert, Store

ACL = {
    "owner": {"type": "ROLE", "principal": "ADMIN"},
    "rules": [{"type": "ROLE", "principal": "USER", "right": "VIEW"}],
}


def job(number: str | int, /, **attributes: Any) -> Document:
    """Return a job with an acl and these attributes."""
    return {"id": f"job/{number}", "acl": ACL, **attributes}


def inserted(store: Store, *documents: Document) -> list[Document]:
    """Insert the documents, and return the documents."""
    results = store.write([Insert(document) for document in documents])
    assert results == list(documents)
    return list(documents)


def names(documents: list[Document]) -> str:
    """Return the ids without the kind, joined by blanks."""
    return " ".join(document["id"].partition("/")[2] for document in documents)
