"""Read all jobs that match a filter, page by page, with rests in between: the server has other work to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gevent

from geventjob.cimi.document import Document
from geventjob.clock import boottime
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.store.base import Query, Store

PAGE = 1_000
"""Jobs of one search."""
REST = 3
"""The pause after a page, as a multiple of the time that the page took."""


def pages(store: Store, wanted: Filter, select: Sequence[str]) -> Iterator[list[Document]]:
    """Yield pages of the jobs that match, in the order of their ids. Raises StoreError."""
    last: str | None = None
    while True:
        began = boottime()
        after: tuple[Filter, ...] = () if last is None else (Compare(("id",), ">", last),)
        query = Query(And((wanted, *after)), last=PAGE, orderby=[("id", False)], select=select)
        page = store.search("job", query).documents
        yield page
        if len(page) < PAGE:
            return
        last = page[-1]["id"]
        gevent.sleep(REST * (boottime() - began))
