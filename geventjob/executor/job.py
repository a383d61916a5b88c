"""The job as its action sees it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from geventjob.cimi.body import encoded
from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, NotFound
from geventjob.ends import JobLost
from geventjob.fork import in_child
from geventjob.job.states import FINAL, STATES
from geventjob.job.types import MESSAGE_BYTES

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
}
"""Attribute of the document → the call that sets it."""


class NoSuchAttribute(AttributeError, KeyError):
    """The job has no such attribute. Actions of SlipStream's engine expect a KeyError here, `getattr` and `hasattr`
    what they always do."""

    __str__ = Exception.__str__


class Job(dict[str, Any]):
    """A job that runs here: its document as a dict to read, and what its action may tell of it.

    Every call that reaches the server raises JobLost once the job is no longer this executor's; nothing of it
    leaves the process then (DESIGN §5.1).
    """

    def __init__(self, document: Document, write: Callable[[Document], Document], client: Client) -> None:
        """`write` edits the job as its owner; it raises JobLost past the lease."""
        super().__init__(document)
        self._write = write
        self._revoked = False
        self.client = client
        """The executor's client, for everything else on the server."""
        self.said = False
        """Whether this run has set a message of its own."""
        self.end: str | None = None
        """The final state that the action has asked for by `set_state`."""

    # --- what the job is

    @property
    def id(self) -> str:
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
        """1 for the first run of this job, one more for each that follows."""
        return int(self.get("attempts", 1))

    @property
    def interrupted(self) -> bool:
        """Whether an earlier attempt ended without an outcome: resume, clean up or fail, as suits the action."""
        return bool(self.get("interrupted", False))

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

    # --- what its action tells of it

    def set_progress(self, progress: float) -> None:
        """Set how far the work is, 0 to 100; a float is rounded. Raises ValueError for anything else."""
        if isinstance(progress, bool) or not isinstance(progress, (int, float)) or not 0 <= progress <= 100:
            raise ValueError(f"progress is a number from 0 to 100, not {shown(progress)}")
        self.edit(progress=round(progress))

    def set_status_message(self, message: object) -> None:
        """A line for people; cut at 32,000 bytes."""
        self.edit(statusMessage=cut(str(message)))

    def set_return_code(self, code: int) -> None:
        """Kept unless `do_work` returns a code itself. It does not decide between SUCCESS and FAILED."""
        if isinstance(code, bool) or not isinstance(code, int):
            raise ValueError(f"a return code is an int, not {shown(code)}")
        self.edit(returnCode=code)

    def add_affected_resource(self, href: str) -> None:
        """`href` is the id of a resource that the work touched."""
        self.add_affected_resources([href])

    def add_affected_resources(self, hrefs: Iterable[str]) -> None:
        """As `add_affected_resource`; what is there already is not added again."""
        known = list(self.get("affectedResources", []))
        there = {resource["href"] for resource in known}
        new = [{"href": href} for href in dict.fromkeys(hrefs) if href not in there]
        if new:
            self.edit(affectedResources=known + new)

    def set_state(self, state: str) -> None:
        """Choose the state in which the job ends if `do_work` returns 0 or nothing: SUCCESS, FAILED or STOPPED.

        RUNNING changes nothing. Raises ValueError for another state: QUEUED and STOPPING are not an action's to set.
        """
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {shown(state)}")
        if state in ("QUEUED", "STOPPING"):
            raise ValueError(f"an action cannot make its job {state}")
        self.end = state if state in FINAL else None

    def is_in_final_state(self) -> bool:
        """Return whether the job has ended, or will in the state that `set_state` was given."""
        return self.end is not None or self.get("state") in FINAL

    def edit(self, **attributes: Any) -> None:
        """Set attributes of the job (DESIGN §3: those that an executor sets, and `name`, `description`, `properties`).

        Raises JobLost; Refused if the server does not accept a value; RuntimeError in a forked child of the executor,
        which tells its parent (by a Queue, say) what is to be written; ValueError, TypeError for what is no JSON.
        """
        if in_child():
            raise RuntimeError(f"{self.id} is run by the process {os.getppid()}: a forked child cannot write to it")
        if self._revoked:
            raise JobLost
        # Plain values, made here: no code of the action's (a dict of a kind of its own) runs when they are sent.
        attributes = msgspec.json.decode(encoded(attributes))
        try:
            document = self._write(attributes)
        except (Conflict, NotFound) as refusal:  # stopped and done, deleted, or somebody else's by now
            log.warning("%s is lost to us: %s", self.id, refusal)
            raise JobLost from refusal
        dict.update(self, document)
        for gone in self.keys() - document.keys():
            dict.__delitem__(self, gone)
        self.said |= "statusMessage" in attributes

    def revoke(self) -> None:
        """From now on every call raises JobLost."""
        self._revoked = True

    @property
    def ss_api(self) -> SsApi:
        """The API as old SlipStream actions know it."""
        from geventjob.cimi.ss_api import SsApi

        return SsApi(self.client)


def cut(message: str) -> str:
    """The message within MESSAGE_BYTES bytes of UTF-8."""
    raw = message.encode(errors="replace")
    return message if len(raw) <= MESSAGE_BYTES else raw[:MESSAGE_BYTES].decode(errors="ignore")


def shown(value: object) -> str:
    """Return a value for an error message, without any code of an action's: of other than plain values, the type."""
    return repr(value) if type(value) in (bool, int, float, str, type(None)) else type(value).__name__
