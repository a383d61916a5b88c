"""Requests about many jobs, in the server's dialect: page by page, and again while the server is away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from geventjob.cimi.body import encoded
from geventjob.cimi.bulk import oversize, pages
from geventjob.cimi.dialects import Dialect, EditAnswer
from geventjob.cimi.dialects.geventjob import Geventjob
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, LoginRefused, Refused, ServerAway
from geventjob.cimi.patience import patiently
from geventjob.cimi.session import CimiSession

T = TypeVar("T")


class JobRequests:
    """The requests about jobs of one client."""

    def __init__(
        self,
        session: CimiSession,
        entry_point: Callable[[], Document],
        *,
        connections: int,
        patience: float,
        max_body: int | None,
    ) -> None:
        """Keep the settings of the client. `entry_point()` gets the cloud entry point, which tells the dialect."""
        self._entry_point = entry_point
        self._patience = patience
        self._max_body = max_body
        self._session = session
        self._connections = connections
        self._dialect: Dialect | None = None

    @property
    def dialect(self) -> Dialect:
        """The dialect of the server, asked for at first need and again after the server was away."""
        if self._dialect is None:
            self._dialect = Geventjob(self._session) if "geventjob" in self._entry_point() else self._slipstream
        return self._dialect

    @cached_property
    def _slipstream(self) -> Dialect:
        """The dialect that remembers the keys of all adds to a SlipStream server."""
        from geventjob.cimi.dialects.slipstream import SlipStream  # loads tables that no other server needs

        return SlipStream(self._session, self._connections)

    def add_one(self, job: bytes) -> str:
        """Add a job, again while the server is away, and return its id."""
        return self._patiently(lambda dialect: dialect.add_one(job))

    def add(self, jobs: Sequence[bytes]) -> list[str | Refused]:
        """Add jobs, and return in their order the id of each or its refusal."""
        return self._in_pages(jobs, lambda page, _: self._add_page(page))

    def edit(
        self,
        edits: Sequence[Mapping[str, Any]],
        actions: Sequence[str] | None,
        answer: EditAnswer,
        held: Callable[[Mapping[str, Any]], bool] | None,
    ) -> list[Document | CimiError]:
        """Edit jobs, and return in their order each job or the error of its edit. See `Client.bulk_edit`."""

        def send(page: Sequence[bytes], places: Sequence[int]) -> Sequence[Document | CimiError]:
            def still_held(at: int) -> bool:
                return held is None or held(edits[places[at]])

            return self._speak(lambda dialect: dialect.edit(page, actions, answer, held and still_held))

        return self._in_pages([encoded(edit) for edit in edits], send)

    def delete(self, filter: str) -> int:
        """Delete the jobs that match, and return their number."""
        return self._speak(lambda dialect: dialect.delete(filter))

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Return which of the jobs that run on an executor must stop."""
        return self._speak(lambda dialect: dialect.stopping(executor, running))

    def _speak(self, call: Callable[[Dialect], T]) -> T:
        """Call with the dialect. Forget the dialect after ServerAway: another server may have come to the address."""
        try:
            return call(self.dialect)
        except (ServerAway, LoginRefused):
            self._dialect = None
            raise

    def _patiently(self, add: Callable[[Dialect], T]) -> T:
        """Try an add again while the server is away, unless the dialect has no keys: a second try may double a job."""
        keeps_keys = patiently(lambda: self.dialect, self._patience).keeps_keys
        return patiently(lambda: self._speak(add), self._patience if keeps_keys else 0)

    def _in_pages(
        self, items: Sequence[bytes], send: Callable[[Sequence[bytes], Sequence[int]], Sequence[T | CimiError]]
    ) -> list[T | Any]:
        """Return the result of each item. `send` takes one page and the places of its items in `items`."""
        results: dict[int, T | CimiError] = {i: error for i, item in enumerate(items) if (error := oversize(item))}
        due = [i for i in range(len(items)) if i not in results]
        first = 0
        for page in pages([items[i] for i in due], self._max_body):
            places = due[first : first + len(page)]
            results.update(zip(places, send(page, places), strict=True))
            first += len(page)
        return [results[i] for i in range(len(items))]

    def _add_page(self, page: Sequence[bytes]) -> list[str | CimiError]:
        """Add one page: try until the server has added or refused each job, or patience is over."""
        results: dict[int, str | CimiError] = {}

        def add(dialect: Dialect) -> None:
            due = [i for i in range(len(page)) if not isinstance(results.get(i), (str, Refused))]
            results.update(zip(due, dialect.add([page[i] for i in due]), strict=True))
            for result in results.values():
                if not isinstance(result, (str, Refused)):
                    raise result

        self._patiently(add)
        return [results[i] for i in range(len(page))]
