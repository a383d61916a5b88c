"""The rules by which jobs wait before the queue, compiled from the documents of the store."""

from __future__ import annotations

from dataclasses import dataclass

from geventjob.cimi.document import Document
from geventjob.server.jobs.wait import Hold

KINDS = ("pause", "limit")
"""The kinds of documents that are rules, in the order in which they are asked."""


@dataclass(frozen=True)
class Rules:
    """All rules at one moment."""

    documents: tuple[Document, ...] = ()

    def concern(self, job: Document) -> bool:
        """Return whether a rule may hold this job, of which `action` is known."""
        return False

    def wait_of(self, job: Document) -> Hold | None:
        """Return how the job, which is QUEUED, must wait by the rules; None: the rules let the job pass."""
        return None
