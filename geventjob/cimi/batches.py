"""A batch as a program fills it: jobs, and a callback that runs when all have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Refused

PAGE = 500
"""Jobs that are sent at once."""


class JobBatch:
    """A batch that is open, in a `with` block. The end of the block closes the batch, unless an error has ended it.

    A batch that an error or the death of the program has left open goes on with the same key: the jobs that were added
    before are not added again.
    """

    def __init__(
        self,
        id: str,
        key: str,
        add: Callable[[Sequence[Mapping[str, Any]]], list[str | Refused]],
        close: Callable[[], Document],
    ) -> None:
        """Take the id and the idempotency key of the callback. `add` sends jobs, `close` closes the batch."""
        self.id = id
        """The id of the callback."""
        self.key = key
        """The idempotency key of the callback, by which the batch goes on."""
        self._send = add
        self._close = close
        self._jobs: list[Document] = []
        self._added = 0

    def __enter__(self) -> JobBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add(self, action: str, payload: Mapping[str, Any] | None = None, **attributes: Any) -> None:
        """Add a job, now or with later ones; `attributes`: others of the job, as the server names them (`priority=5`).

        Raises the errors of `Client.bulk_add`, and the first Refused of the jobs that are sent.
        """
        job = {"action": action, **({} if payload is None else {"payload": payload}), **attributes}
        key = f"{self.key}/{self._added}"
        self._jobs.append({"idempotencyKey": key, **job, "parentJob": self.id})
        self._added += 1
        if len(self._jobs) == PAGE:
            self._flush()

    def close(self) -> Document:
        """Add the jobs that are left, close the batch, and return the callback."""
        self._flush()
        return self._close()

    def _flush(self) -> None:
        jobs, self._jobs = self._jobs, []
        for result in self._send(jobs) if jobs else ():
            if isinstance(result, Refused):
                raise result
