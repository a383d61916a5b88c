"""A SlipStream server: single requests for each job, and the rules of a job's life kept on this side.

docs/slipstream.md tells which parts of the contract cannot be kept there.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from geventjob.cimi.answers import AddedAnswer, JobPage
from geventjob.cimi.dialects import EditAnswer, Held, translation
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, ForeignAnswer, LoginRefused, NotFound, ServerAway
from geventjob.cimi.session import CimiSession

Item = TypeVar("Item")
Result = TypeVar("Result")

REMEMBERED = 10_000
"""Keys of adds that are remembered: a repeated add that was answered adds nothing."""
PAGE = 1000
NAMED = 100
"""Most ids in one filter."""
LINGER = 3.0
"""Seconds for which a search may still find a deleted job (docs/reference/cimi.md, "Jobs")."""


class SlipStream:
    """See `Dialect`."""

    name = "slipstream"
    keeps_keys = False
    sends_stops = False
    forgives = False
    keeps_logs = False

    def __init__(self, session: CimiSession, most: int) -> None:
        """Keep the session. `most`: most requests at once."""
        self._session = session
        self._most = most
        self._added: OrderedDict[str, str] = OrderedDict()

    def add_one(self, job: bytes) -> str:
        """Add a job, unless this client has added one under the same key. A lost answer may double the job."""
        return self._add(msgspec.json.decode(job, type=Document))

    def add(self, jobs: Sequence[bytes]) -> Sequence[str | CimiError]:
        return self._each([msgspec.json.decode(job, type=Document) for job in jobs], self._add)

    def edit(
        self, edits: Sequence[bytes], actions: Sequence[str] | None, answer: EditAnswer, held: Held | None = None
    ) -> Sequence[Document | CimiError]:
        """Edit jobs. The edits of one job go out one after the other, in their order."""
        decoded = [msgspec.json.decode(edit, type=Document) for edit in edits]
        by_job: dict[str, list[int]] = {}
        for at, edit in enumerate(decoded):
            by_job.setdefault(edit["id"], []).append(at)
        chains = list(by_job.values())
        results: dict[int, Document | CimiError] = {}

        def edit_in_turn(chain: list[int]) -> None:
            for at in chain:
                try:
                    results[at] = self._edit(decoded[at], actions, answer, held and partial(held, at))
                except (ServerAway, LoginRefused):
                    raise  # later edits must not overtake this one
                except CimiError as error:
                    results[at] = error

        for chain, outcome in zip(chains, self._each(chains, edit_in_turn), strict=True):
            if outcome is not None:
                results.update((at, outcome) for at in chain if at not in results)
        return [results[at] for at in range(len(edits))]

    def delete(self, filter: str) -> int:
        """Delete the jobs one by one, and count those that this call deleted. Raises the first refusal."""
        deleted = 0
        for ids in self._pages_to_delete(filter):
            for result in self._each(ids, self._delete):
                if isinstance(result, CimiError):
                    raise result
                deleted += result
        return deleted

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Return which jobs were stopped. SlipStream's `stop` makes a running job STOPPED and sends no message."""
        found: list[str] = []
        for first in range(0, len(running), NAMED):
            named = " or ".join(f"id='{id}'" for id in running[first : first + NAMED])
            found += self._search(f"(state='STOPPED' or state='STOPPING') and ({named})", NAMED)
        return found

    # --- one job

    def _add(self, job: Document) -> str:
        key = job["idempotencyKey"]
        if key not in self._added:
            body = translation.addable(job)
            self._added[key] = self._session.call("POST", "job", json=body, answer=AddedAnswer).id
            if len(self._added) > REMEMBERED:
                self._added.popitem(last=False)
        return self._added[key]

    def _edit(
        self, edit: Document, actions: Sequence[str] | None, answer: EditAnswer, held: Callable[[], bool] | None
    ) -> Document:
        id = edit["id"]
        job = self._session.call("GET", id, answer=Document)

        def check() -> None:
            if held is not None and not held():
                raise translation.conflict(job, "fence", "was lost before its edit was sent")

        wanted = translation.change(job, edit, actions)
        if wanted is not None:
            names = ",".join(edit.get("delete", ()))
            query = [("$select", names)] if names else []
            job = self._session.call("PUT", id, query=query, json=wanted, check=check, answer=Document)
        return {"status": 200} if answer == "status" else translation.ours(job, edit)

    def _delete(self, id: str) -> int:
        try:
            self._session.call("DELETE", id, answer=Document)
        except NotFound:
            return 0
        return 1

    # --- searches

    def _search(self, filter: str, last: int) -> list[str]:
        form = [("$filter", filter), ("$last", str(last)), ("$select", "id")]
        return [job.id for job in self._session.call("PUT", "job", form=form, answer=JobPage).jobs]

    def _pages_to_delete(self, filter: str) -> Iterator[list[str]]:
        """Yield ids that match and were not yielded before. A search may still find a deleted job for a moment."""
        given: set[str] = set()
        until = time.monotonic() + LINGER
        while found := self._search(filter, PAGE):
            new = [id for id in found if id not in given]
            if new:
                yield new
                given.update(new)
                until = time.monotonic() + LINGER
            elif len(found) < PAGE or time.monotonic() > until:
                return
            else:
                time.sleep(0.1)

    # --- many jobs

    def _each(self, items: Sequence[Item], call: Callable[[Item], Result]) -> list[Result | CimiError]:
        """Return the result of each call, or its error.

        Raises ServerAway or LoginRefused when there is no server for any of them.
        """
        results: dict[int, Result | CimiError] = {}
        away: list[CimiError] = []

        def one(at: int) -> None:
            try:
                if away:
                    raise away[0]
                results[at] = call(items[at])
            except CimiError as error:
                results[at] = error
                if isinstance(error, (ServerAway, LoginRefused)) and not _of_one_job(error):
                    away.append(error)  # the other calls would wait in vain

        _at_once(one, range(len(items)), self._most)
        failures = [error for error in results.values() if isinstance(error, (ServerAway, LoginRefused))]
        if failures and len(failures) == len(items):
            if away:
                raise away[0]
            self._search("state='RUNNING'", 0)  # raises if the server is away after all
        return [results[at] for at in range(len(items))]


def _of_one_job(error: CimiError) -> bool:
    """Return whether the other jobs may succeed: SlipStream answers 500 for a document that its store refuses, and a
    proxy may refuse the text of one request."""
    return isinstance(error, ForeignAnswer) or (isinstance(error, ServerAway) and error.status == 500)


def _at_once(call: Callable[[int], Any], items: Sequence[int], most: int) -> None:
    """Call in greenlets if the process is patched, else in turn: a library starts no threads unasked."""
    monkey = sys.modules.get("gevent.monkey")
    if len(items) > 1 and monkey is not None and monkey.is_module_patched("socket"):
        from gevent.pool import Pool

        for _ in Pool(most).imap_unordered(call, items):
            pass
    else:
        for item in items:
            call(item)
