"""The job as its action sees it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from geventjob.cimi.body import encoded
from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, NotFound
from geventjob.ends import JobLost
from geventjob.executor.running import in_coroutine
from geventjob.fork import in_child
from geventjob.job.states import FINAL, STATES
from geventjob.job.types import MESSAGE_BYTES, REPORT_BYTES

if TYPE_CHECKING:
    from geventjob.cimi.client import Client
    from geventjob.cimi.ss_api import SsApi

log = logging.getLogger(__name__)


OWN = ("client", "said", "end")
"""Attributes of a `Job` that its constructor sets."""
SETTERS = {
    "statusMessage": "set_status_message(…)",
    "progress": "set_progress(…)",
    "returnCode": "set_return_code(…)",
    "affectedResources": "add_affected_resource(…)",
    "output": "set_output(…)",
    "checkpoint": "set_checkpoint(…)",
}
"""Attribute of the document → the call that sets it."""


class NoSuchAttribute(AttributeError, KeyError):
    """The job has no attribute of this name.

    A KeyError for actions of SlipStream's engine, an AttributeError for `getattr` and `hasattr`.
    """

    __str__ = Exception.__str__


class Job(dict[str, Any]):
    """The job that an action runs: its document as a read-only dict, and the calls by which the action reports.

    Once the job is lost to this executor, each call that would reach the server raises JobLost and sends nothing.
    """

    _write: Callable[[Document], Document]
    _revoked: bool
    client: Client
    """The executor's client, for all other resources of the server."""
    said: bool
    """Whether this run has set a message of its own."""
    end: str | None
    """The final state that the action has asked for by `set_state`."""

    def __init__(self, document: Document, write: Callable[[Document], Document], client: Client) -> None:
        """Wrap a document. `write` edits the job as its owner, and raises JobLost once the lease is over."""
        super().__init__(document)
        # At once: `__setattr__` looks at each name.
        vars(self).update(_write=write, _revoked=False, client=client, said=False, end=None)

    # --- the document

    @property
    def id(self) -> str:
        """The id, `job/…`."""
        return str(self["id"])

    @property
    def logger(self) -> logging.Logger:
        """The logger that actions of SlipStream's engine take from their job."""
        return logging.getLogger("slipstream.job")

    @property
    def payload(self) -> Document:
        """The job's input, an object; empty if the job has none."""
        payload: Document = self.get("payload", {})
        return payload

    @property
    def attempt(self) -> int:
        """The number of this run: 1 for the first run of the job."""
        return int(self.get("attempts", 1))

    @property
    def interrupted(self) -> bool:
        """Whether an earlier run ended without an outcome: the action may resume, clean up or fail."""
        return bool(self.get("interrupted", False))

    @property
    def checkpoint(self) -> Any:
        """The value that an earlier run has left by `set_checkpoint`; None without one."""
        return self.get("checkpoint")

    def children(
        self, select: Iterable[str] = ("state", "statusMessage", "output"), page: int = 100
    ) -> Iterator[Document]:
        """Yield the jobs that name this one as their `parentJob`, in the order of their ids, `page` of them in memory.

        `select`: their attributes besides `id`. The job's own `batch` has their number and that of failures.
        """
        if self._revoked:
            raise JobLost
        yield from self.client.children(self.id, select, page)

    def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a job is changed by its setters and by edit(…) alone")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _read_only

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        try:
            return self[attribute]
        except KeyError:
            raise NoSuchAttribute(f"{self.id} has no {attribute!r}") from None

    def __setattr__(self, attribute: str, value: Any) -> None:
        """Refuse to set an attribute of the job's document, which would change nothing on the server."""
        if not attribute.startswith("_") and attribute not in OWN:
            setter = SETTERS.get(attribute, f"edit({attribute}=…)")
            raise AttributeError(f"job.{attribute} cannot be assigned: call job.{setter}")
        super().__setattr__(attribute, value)

    def __repr__(self) -> str:
        return f"<Job {self.get('id')} {self.get('action')}>"

    # --- reports of the action

    def set_progress(self, progress: float) -> None:
        """Set the progress, a number from 0 to 100, which is rounded. Raises ValueError for other values."""
        if isinstance(progress, bool) or not isinstance(progress, (int, float)) or not 0 <= progress <= 100:
            raise ValueError(f"progress is a number from 0 to 100, not {shown(progress)}")
        self.edit(progress=round(progress))

    def set_status_message(self, message: object) -> None:
        """Set a line for people; it is cut at 32,000 bytes."""
        self.edit(statusMessage=cut(str(message)))

    def set_return_code(self, code: int) -> None:
        """Set the return code of an action that returns None. The code does not decide between SUCCESS and FAILED."""
        if isinstance(code, bool) or not isinstance(code, int):
            raise ValueError(f"a return code is an int, not {shown(code)}")
        self.edit(returnCode=code)

    def set_output(self, value: Any) -> None:
        """Set the result of the job: JSON of 64 KB at most. Raises ValueError for anything else."""
        self.edit(output=checked_report("output", value))

    def set_checkpoint(self, value: Any) -> None:
        """Save what a later run needs of this one, as `job.checkpoint`: JSON of 64 KB at most. Raises ValueError."""
        self.edit(checkpoint=checked_report("checkpoint", value))

    def add_affected_resource(self, href: str) -> None:
        """Add the id of a resource that the work touched."""
        self.add_affected_resources([href])

    def add_affected_resources(self, hrefs: Iterable[str]) -> None:
        """Add the ids of resources that the work touched; an id is added once."""
        known = list(self.get("affectedResources", []))
        there = {resource["href"] for resource in known}
        new = [{"href": href} for href in dict.fromkeys(hrefs) if href not in there]
        if new:
            self.edit(affectedResources=known + new)

    def set_state(self, state: str) -> None:
        """Choose the state in which the job ends if `do_work` returns 0 or nothing: SUCCESS, FAILED or STOPPED.

        RUNNING changes nothing. Raises ValueError for QUEUED, STOPPING and unknown states.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {shown(state)}")
        if state in ("QUEUED", "STOPPING"):
            raise ValueError(f"an action cannot make its job {state}")
        self.end = state if state in FINAL else None

    def is_in_final_state(self) -> bool:
        """Return whether the job has ended, or will end in the state that `set_state` has chosen."""
        return self.end is not None or self.get("state") in FINAL

    def edit(self, **attributes: Any) -> None:
        """Set attributes of the job: the ones with a setter, and `name`, `description`, `properties`.

        Raises JobLost; Refused if the server does not accept a value; ValueError, TypeError for values that are no
        JSON. Raises RuntimeError in a forked child of the executor: the child may hand the values to its parent, by a
        Queue for example, to be written there. Raises RuntimeError in a coroutine, which must not wait for the server
        in this way: all coroutines would wait.
        """
        if in_child():
            raise RuntimeError(f"{self.id} is run by the process {os.getppid()}: a forked child cannot write to it")
        if in_coroutine():
            raise RuntimeError("a coroutine writes to its job by `await job.aset_progress(…)` and the like")
        if self._revoked:
            raise JobLost
        # Plain values are made here: no code of the action (of its own kind of dict, say) runs when they are sent.
        attributes = msgspec.json.decode(encoded(attributes))
        try:
            document = self._write(attributes)
        except (Conflict, NotFound) as refusal:  # stopped and done, deleted, or owned by another executor by now
            log.warning("%s is lost to this executor: %s", self.id, refusal)
            raise JobLost from refusal
        dict.update(self, document)
        for gone in self.keys() - document.keys():
            dict.__delitem__(self, gone)
        self.said |= "statusMessage" in attributes

    # --- the same in a coroutine

    async def aset_progress(self, progress: float) -> None:
        """`set_progress` for a coroutine."""
        await _in_greenlet(self.set_progress, progress)

    async def aset_status_message(self, message: object) -> None:
        """`set_status_message` for a coroutine."""
        await _in_greenlet(self.set_status_message, message)

    async def aset_return_code(self, code: int) -> None:
        """`set_return_code` for a coroutine."""
        await _in_greenlet(self.set_return_code, code)

    async def aset_output(self, value: Any) -> None:
        """`set_output` for a coroutine."""
        await _in_greenlet(self.set_output, value)

    async def aset_checkpoint(self, value: Any) -> None:
        """`set_checkpoint` for a coroutine."""
        await _in_greenlet(self.set_checkpoint, value)

    async def aadd_affected_resource(self, href: str) -> None:
        """`add_affected_resource` for a coroutine."""
        await _in_greenlet(self.add_affected_resource, href)

    async def aadd_affected_resources(self, hrefs: Iterable[str]) -> None:
        """`add_affected_resources` for a coroutine."""
        await _in_greenlet(self.add_affected_resources, hrefs)

    async def aedit(self, **attributes: Any) -> None:
        """`edit` for a coroutine."""
        await _in_greenlet(self.edit, **attributes)

    def revoke(self) -> None:
        """Let every call raise JobLost from now on."""
        self._revoked = True

    @property
    def ss_api(self) -> SsApi:
        """The API of the server as actions of SlipStream's engine know it."""
        from geventjob.cimi.ss_api import SsApi

        return SsApi(self.client)


async def _in_greenlet(call: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    import asyncio  # there, as a coroutine runs

    await asyncio.to_thread(call, *args, **kwargs)


def checked_report(name: str, value: Any) -> Any:
    """Return an output or checkpoint as plain JSON values. Raises ValueError that names it."""
    if value is None:
        raise ValueError(f"{name}: None is no value")
    try:
        text = encoded(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON ({error})") from None
    if len(text) > REPORT_BYTES:
        raise ValueError(f"{name}: expected at most {REPORT_BYTES // 1024} KB of JSON, not {len(text):,} bytes")
    return msgspec.json.decode(text)


def cut(message: str) -> str:
    """Return the message, cut to MESSAGE_BYTES bytes of UTF-8."""
    raw = message.encode(errors="replace")
    return message if len(raw) <= MESSAGE_BYTES else raw[:MESSAGE_BYTES].decode(errors="ignore")


def shown(value: object) -> str:
    """Return a plain value, or the name of the type of another value, for an error message.

    No code of an action runs for the text.
    """
    return repr(value) if type(value) in (bool, int, float, str, type(None)) else type(value).__name__
