"""What a server can do at once and what it knows of a job's life: ours (DESIGN §6), and SlipStream's (CIMI.md §3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError

EditAnswer = Literal["job", "status"]
Held = Callable[[int], bool]
"""Of an edit by its place in what is sent: whether its owner holds the job still."""


class Dialect(Protocol):
    """Many jobs in one call. Items are JSON already and come as one page; results come in their order.

    A result of one item alone is its error where it failed. What fails as a whole is raised.
    """

    @property
    def name(self) -> str:
        """`geventjob` or `slipstream`."""

    @property
    def keeps_keys(self) -> bool:
        """Whether an add with the idempotencyKey of an earlier one is no second job."""

    @property
    def sends_stops(self) -> bool:
        """Whether an executor is sent a message when a job of its shall stop. Otherwise it has to ask."""

    @property
    def forgives(self) -> bool:
        """Whether an attempt that was counted as an interruption can be taken back by its executor."""

    def add_one(self, job: bytes) -> str:
        """Add a job that has an idempotencyKey; its id. Its error is raised."""

    def add(self, jobs: Sequence[bytes]) -> Sequence[str | CimiError]:
        """Add jobs that each have an idempotencyKey; their ids."""

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer, held: Held | None = None
    ) -> Sequence[Document | CimiError]:
        """Edit jobs; each as it is then, or `{"status": 200}`.

        `held` is asked about each edit at the moment at which it is sent, since it may have been held back, with the
        whole process, past the end of its owner's lease. An edit that is held no longer is not sent, and its result
        is a Conflict with the reason `fence`.
        """

    def delete(self, filter: str) -> int:
        """Delete what matches; how many."""

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """The ids of those jobs, all of which run on this executor, that shall stop."""
