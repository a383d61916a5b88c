"""Many jobs in one request: the bulk operations of geventjob's own server (DESIGN §6).

The one place that knows how a dialect does many at once: a server without them is served one by one by a class of
the same three methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from geventjob.cimi.errors import CimiError, Invalid, NotFound, Refused, ServerAway
from geventjob.cimi.session import Session, refusal
from geventjob.cimi.transport import TooLarge

T = TypeVar("T")

COUNT = 1000
SIZE = 3_900_000
"""Items of one request and their bytes, at most: 4 MB with room for what stands around them."""

EditAnswer = Literal["job", "status"]


class _Result(msgspec.Struct):
    status: int
    message: str = ""
    reason: str | None = None
    job: dict[str, Any] | None = None
    id: str | None = msgspec.field(default=None, name="resource-id")

    def error(self) -> CimiError | None:
        if 200 <= self.status < 300:
            return None
        return refusal(self.status, self.message or f"status {self.status}", self.reason, self.job)


class _Results(msgspec.Struct):
    results: list[_Result]


class _Deleted(msgspec.Struct):
    deleted: int


class Bulk:
    """Each method sends one request for one page of items that are JSON already; results come in their order.

    A result of one item alone is its error where it failed. What fails as a whole is raised.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, jobs: Sequence[bytes]) -> list[str | CimiError]:
        """Add jobs that each have an idempotencyKey; their ids."""
        results = self._post("job/bulk-add", b'{"jobs":[%b]}' % b",".join(jobs), len(jobs))
        return [result.error() or _id(result) for result in results]

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer
    ) -> list[dict[str, Any] | CimiError]:
        """Edit jobs; each as it is then, or `{"status": 200}`."""
        known = b"" if actions is None else b',"actions":' + msgspec.json.encode(actions)
        body = b'{"edits":[%b]%b,"return":"%b"}' % (b",".join(edits), known, answer.encode())
        try:
            results = self._post("job/bulk-edit", body, len(edits))
        except TooLarge:
            if len(edits) == 1:
                raise
            half = len(edits) // 2  # the same edit again is answered as before
            return self.edit(edits[:half], actions, answer) + self.edit(edits[half:], actions, answer)
        return [
            result.error() or (_job(result) if answer == "job" else {"status": result.status}) for result in results
        ]

    def delete(self, filter: str) -> int:
        """Delete what matches; how many."""
        return self._call("job/bulk-delete", msgspec.json.encode({"filter": filter}), _Deleted).deleted

    def _post(self, path: str, body: bytes, count: int) -> list[_Result]:
        results = self._call(path, body, _Results).results
        if len(results) != count:
            raise ServerAway(f"{path} answered {len(results)} results for {count} items")
        return results

    def _call(self, path: str, body: bytes, answer: type[T]) -> T:
        try:
            return self._session.call("POST", path, json=body, answer=answer, repeatable=True)
        except Refused as error:
            if isinstance(error, NotFound) or error.status == 405:
                raise CimiError(f"the server has no {path}: it is none of geventjob's ({error})") from error
            raise


def pages(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut items that are JSON already into what one request may hold."""
    start = size = 0
    for at, item in enumerate(items):
        if at - start == COUNT or (size + len(item) > SIZE and at > start):
            yield items[start:at]
            start, size = at, 0
        size += len(item) + 1
    if start < len(items):
        yield items[start:]


def oversize(item: bytes) -> Invalid | None:
    """The refusal of an item that no request may hold, so that it fails alone."""
    if len(item) <= SIZE:
        return None
    return Invalid(413, f"{len(item)} bytes: one item of a bulk request may have {SIZE}")


def _id(result: _Result) -> str | CimiError:
    return result.id or ServerAway("bulk-add answered a job without its resource-id")


def _job(result: _Result) -> dict[str, Any] | CimiError:
    return result.job if result.job is not None else ServerAway("bulk-edit answered an edit without its job")
