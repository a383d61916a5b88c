"""A limit: how many jobs of an action may run at once, or start in a time, in all or for each value of an attribute."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from geventjob.cimi.document import Document
from geventjob.job.states import FINAL
from geventjob.server.filter import Compare, Filter, Or
from geventjob.server.life.wait import Hold

UNFINISHED: Filter = Or(tuple(Compare(("state",), "=", state) for state in ("QUEUED", "RUNNING", "STOPPING")))
ADMITTED: Filter = Compare(("admitted",), "!=", None)
ON = "limit/"
"""The prefix of `held.on` of a job that waits for its turn under a limit; the key of the limit follows."""
LONGEST_VALUE = 100
"""Characters of a value in a key; a longer value is cut, and a digest of the whole value appended."""


@dataclass(frozen=True)
class Limit:
    """A limit of the store, compiled."""

    name: str
    action: str
    per: tuple[str, ...] = ()
    """Path of the attribute of a job whose values have a count each; empty: one count for all jobs."""
    running: int | None = None
    """Most jobs at once that were let through and have not ended; None: any number."""
    starts: int | None = None
    """Most jobs that are let through within `each` seconds; None: any number."""
    each: float = 1.0
    epoch: int = 1
    """Grows with each change of `action` or `per`, after which the old keys count for nothing."""

    @property
    def prefix(self) -> str:
        """The beginning of all keys of the limit."""
        return f"{self.name}.{self.epoch}|"

    def key_of(self, job: Document) -> str:
        """Return the key under which the job counts."""
        return self.prefix + (_value(job, self.per) if self.per else "")

    def told(self, key: str, running: int | None = None) -> str:
        """Return in words why a job waits that comes under this key. `running`: the number of those that run."""
        title = f"{self.name} {key.removeprefix(self.prefix)}".rstrip()
        if self.running is not None:
            return f"{title}: {self.running if running is None else running} of {self.running} run"
        return f"{title}: {self.starts} of {self.starts} have started within {self.each:g} s"

    def hold(self, key: str, keys: tuple[str, ...]) -> Hold:
        """Return how a job waits for its turn under this key; `keys`: of all limits under which the job comes."""
        return Hold("rate" if self.running is None else "limit", self.told(key), on=ON + key, limits=keys)


def compiled(document: Document) -> Limit:
    """Return the limit of a document."""
    return Limit(
        document["name"],
        document["action"],
        tuple(document["per"].split(".")) if "per" in document else (),
        document.get("running"),
        document.get("starts"),
        document.get("each", 1.0),
        document.get("epoch", 1),
    )


def counts(job: Document) -> bool:
    """Return whether the job counts as one that runs: it was let through its limits, or is being so, and has not ended.

    A job that is held again, for another try for instance, has left its limits.
    """
    held = job.get("held")
    return bool(
        "admitted" in job and job.get("limits") and job["state"] not in FINAL and (held is None or "token" in held)
    )


def is_let_through(job: Document) -> bool:
    """Return whether the job, held or not, has passed its limits and needs only its entry."""
    held = job.get("held")
    return "admitted" in job and (held is None or ("token" in held and "until" in held))


def _value(job: Document, path: tuple[str, ...]) -> str:
    found: Any = job
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return ""
    text = found if isinstance(found, str) else msgspec.json.encode(found, order="deterministic").decode()
    if len(text) <= LONGEST_VALUE and text.isprintable():
        return text
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return "".join(filter(str.isprintable, text[: LONGEST_VALUE // 2])) + "~" + digest
