"""Our own server: many jobs in one request, by its bulk operations (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from geventjob.cimi.dialects import Document, EditAnswer, Held
from geventjob.cimi.errors import CimiError, NotFound, Refused, ServerAway
from geventjob.cimi.session import Session, refusal
from geventjob.cimi.transport import TooLarge

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
        return refusal(self.status, self.message or f"status {self.status}", self.reason, self.job)


class _Results(msgspec.Struct):
    results: list[_Result]


class _Added(msgspec.Struct):
    id: str = msgspec.field(name="resource-id")


class _Deleted(msgspec.Struct):
    deleted: int


class _Found(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    jobs: list[_Found]


class Geventjob:
    """See `Dialect`. Each call is one request."""

    name = "geventjob"
    keeps_keys = True
    sends_stops = True
    forgives = True

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_one(self, job: bytes) -> str:
        return self._session.call("POST", "job", json=job, repeatable=True, answer=_Added).id

    def add(self, jobs: Sequence[bytes]) -> list[str | CimiError]:
        results = self._post("job/bulk-add", b'{"jobs":[%b]}' % b",".join(jobs), len(jobs))
        return [result.error() or _id(result) for result in results]

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer, held: Held | None = None
    ) -> list[Document | CimiError]:
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
        return self._call("job/bulk-delete", msgspec.json.encode({"filter": filter}), _Deleted).deleted

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Messages may have passed by an executor that had no session (DESIGN §5.9)."""
        form = [("$filter", f"state='STOPPING' and executor='{executor}'"), ("$select", "id")]
        return [job.id for job in self._session.call("PUT", "job", form=form, answer=_Page).jobs]

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


def _id(result: _Result) -> str | CimiError:
    return result.id or ServerAway("bulk-add answered a job without its resource-id")


def _job(result: _Result) -> Document | CimiError:
    return result.job if result.job is not None else ServerAway("bulk-edit answered an edit without its job")
