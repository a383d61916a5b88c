"""Our own server: many jobs in one bulk request (docs/reference/api.md, "Jobs")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from geventjob.cimi.answers import AddedAnswer, JobPage
from geventjob.cimi.dialects import EditAnswer, Held
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, Conflict, Forbidden, ForeignAnswer, NotFound, Refused, ServerAway
from geventjob.cimi.session import CimiSession, refusal
from geventjob.cimi.transport import AnswerTooLarge

T = TypeVar("T")


class _Result(msgspec.Struct):
    status: int
    message: str = ""
    reason: str | None = None
    job: dict[str, Any] | None = None
    id: str | None = msgspec.field(default=None, name="resource-id")

    def error(self) -> CimiError | None:
        if 200 <= self.status < 300:
            return None
        return refusal(self.status, self.message or f"status {self.status}", self.reason, self.job, self.id)


class _Results(msgspec.Struct):
    results: list[_Result]


class _Deleted(msgspec.Struct):
    deleted: int


class Geventjob:
    """See `Dialect`. Each call is one request, unless its page must be divided."""

    name = "geventjob"
    keeps_keys = True
    sends_stops = True
    forgives = True
    keeps_logs = True

    def __init__(self, session: CimiSession) -> None:
        self._session = session

    def add_one(self, job: bytes) -> str:
        return self._session.call("POST", "job", json=job, repeatable=True, answer=AddedAnswer).id

    def add(self, jobs: Sequence[bytes]) -> list[str | CimiError]:
        def send(some: Sequence[int]) -> list[str | CimiError]:
            body = b'{"jobs":[%b]}' % b",".join(jobs[at] for at in some)
            return [result.error() or _id(result) for result in self._post("job/bulk-add", body, len(some))]

        return self._unless_away(_divided(range(len(jobs)), send))

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer, held: Held | None = None
    ) -> list[Document | CimiError]:
        known = b"" if actions is None else b',"actions":' + msgspec.json.encode(actions)

        def one(result: _Result) -> Document | CimiError:
            return result.error() or (_job(result) if answer == "job" else {"status": result.status})

        def send(some: Sequence[int]) -> list[Document | CimiError]:
            body = b'{"edits":[%b]%b,"return":"%b"}' % (b",".join(edits[at] for at in some), known, answer.encode())
            check = None if held is None else lambda: _check_held(some, held)
            return [one(result) for result in self._post("job/bulk-edit", body, len(some), check)]

        whole = send if held is None else lambda some: _while_held(some, held, send)
        return self._unless_away(_divided(range(len(edits)), whole))

    def delete(self, filter: str) -> int:
        return self._call("job/bulk-delete", msgspec.json.encode({"filter": filter}), _Deleted).deleted

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Return which jobs must stop. An executor without a session may have missed messages."""
        form = [("$filter", f"state='STOPPING' and executor='{executor}'"), ("$select", "id")]
        return [job.id for job in self._session.call("PUT", "job", form=form, answer=JobPage).jobs]

    def _unless_away(self, results: list[T | CimiError]) -> list[T | CimiError]:
        """Return the results. Raises ServerAway if a proxy refused every item, and refuses a search too."""
        if results and all(isinstance(result, ForeignAnswer) for result in results):
            self._session.call("PUT", "job", form=[("$last", "0")], answer=JobPage)
        return results

    def _post(self, path: str, body: bytes, count: int, check: Callable[[], None] | None = None) -> list[_Result]:
        results = self._call(path, body, _Results, check).results
        if len(results) != count:
            raise ServerAway(f"{path} answered {len(results)} results for {count} items")
        return results

    def _call(self, path: str, body: bytes, answer: type[T], check: Callable[[], None] | None = None) -> T:
        try:
            return self._session.call("POST", path, json=body, answer=answer, repeatable=True, check=check)
        except Refused as error:
            if isinstance(error, NotFound) or error.status == 405:
                raise ServerAway(f"the server has no {path}: it is not a server of geventjob ({error})") from error
            raise


class _NotHeld(CimiError):
    """An edit in a request is no longer held by its owner. The request was not sent."""


def _divided(items: Sequence[int], send: Callable[[Sequence[int]], list[T | CimiError]]) -> list[T | CimiError]:
    """Return the results of `send(items)`. If a request is refused as a whole, send its halves, down to single items.

    A refusal of the whole says nothing about the parts: the request may be too large for a proxy, the answer too large
    for us, or one item may hold a text that a proxy blocks. A repeated item gets the same answer as before. An item
    that is refused alone has the refusal as its result. Raises the errors that mean that there is no server.
    """
    try:
        return send(items)
    except Forbidden:
        raise
    except (AnswerTooLarge, Refused, ForeignAnswer) as error:
        if len(items) == 1:
            return [error]
        half = len(items) // 2
        return _divided(items[:half], send) + _divided(items[half:], send)


def _while_held(
    items: Sequence[int], held: Held, send: Callable[[Sequence[int]], list[Document | CimiError]]
) -> list[Document | CimiError]:
    """Return the results of `send` for the items that are held, and a Conflict for each item that is not."""
    while True:
        due = [at for at in items if held(at)]
        try:
            results = dict(zip(due, send(due) if due else [], strict=True))
        except _NotHeld:
            continue
        lost = Conflict(409, "the claim was lost before the edit was sent", reason="fence")
        return [results.get(at, lost) for at in items]


def _check_held(items: Sequence[int], held: Held) -> None:
    """Raise _NotHeld unless all items are held."""
    if not all(held(at) for at in items):
        raise _NotHeld("an edit is held by its owner no longer")


def _id(result: _Result) -> str | CimiError:
    return result.id or ServerAway("bulk-add answered a job without its resource-id")


def _job(result: _Result) -> Document | CimiError:
    return result.job if result.job is not None else ServerAway("bulk-edit answered an edit without its job")
