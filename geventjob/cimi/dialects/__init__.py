"""The dialects of job servers: geventjob's (docs/reference/api.md) and SlipStream's (docs/slipstream.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError

EditAnswer = Literal["job", "status"]
Held = Callable[[int], bool]
"""Return whether the owner of an edit, given by its place in the call, still holds the job."""


class Dialect(Protocol):
    """Requests about many jobs. Items are JSON already and form one page; results come in their order.

    The result of an item that failed alone is its error. The error of a whole page is raised.
    """

    @property
    def name(self) -> str:
        """`geventjob` or `slipstream`."""

    @property
    def keeps_keys(self) -> bool:
        """Return whether a repeated add with the same idempotencyKey adds no second job."""

    @property
    def sends_stops(self) -> bool:
        """Return whether an executor gets a message when one of its jobs must stop.

        Otherwise the executor has to ask.
        """

    @property
    def forgives(self) -> bool:
        """Return whether an executor can take back an attempt that was counted as an interruption."""

    @property
    def keeps_logs(self) -> bool:
        """Return whether the server keeps the lines that an action logs."""

    def add_one(self, job: bytes) -> str:
        """Add a job that has an idempotencyKey, and return its id. Raises its error."""

    def add(self, jobs: Sequence[bytes]) -> Sequence[str | CimiError]:
        """Add jobs that each have an idempotencyKey, and return their ids."""

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer, held: Held | None = None
    ) -> Sequence[Document | CimiError]:
        """Edit jobs, and return each job after its edit, or `{"status": 200}`.

        `held` is called about each edit at the moment of sending: the whole process may have been held up beyond the
        end of the owner's lease. An edit that is no longer held is not sent; its result is a Conflict with the reason
        `fence`.
        """

    def delete(self, filter: str) -> int:
        """Delete the jobs that match, and return their number."""

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Return which of the jobs that run on this executor must stop."""
