"""Shapes of answers that clients of both dialects check."""

from __future__ import annotations

import msgspec


class AddedAnswer(msgspec.Struct):
    """The answer to an add: the id of the new resource."""

    id: str = msgspec.field(name="resource-id")


class JobId(msgspec.Struct):
    """A job in a page of a search that selects ids."""

    id: str


class JobPage(msgspec.Struct):
    """A page of a search for jobs. `count` is the number of all matches."""

    count: int
    jobs: list[JobId]
