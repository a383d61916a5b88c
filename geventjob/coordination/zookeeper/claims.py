"""The claims of this process, from the take to their end, compared with the nodes on the server."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gevent.event import Event
from kazoo.protocol.states import ZnodeStat

from geventjob.coordination.base import Claim
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKEN, entry_path, name_of, taken_path
from geventjob.coordination.zookeeper.part import Part

log = logging.getLogger(__name__)


class ZooKeeperClaims(Part):
    """The claims of the present session."""

    def __init__(self, lost: Callable[[Sequence[Claim]], None]) -> None:
        """Keep the listener: `lost` is called with claims that a caller has and that are lost."""
        self._lost = lost
        self.arrived = Event()
        """Set when claims wait for a caller."""
        self._held: dict[str, Claim] = {}
        self._waiting: deque[Claim] = deque()  # taken, and not yet returned to a caller
        self._ending: set[str] = set()  # names whose end was requested

    # --- taking

    def add(self, membership: Membership, name: str, data: bytes | None, stat: ZnodeStat) -> Claim | None:
        """Note that this process holds the entry. Return the claim, or None if the session is over.

        `stat`: the entry's stat after the take.
        """
        if membership.session.over:
            return None
        claim = Claim(
            entry=entry_path(name),
            job=(data or b"").decode(errors="replace"),
            fence=stat.mzxid,
            put_at=stat.ctime / 1000,
            session=membership.session,
        )
        self._held[name] = claim
        return claim

    def offer(self, claims: Iterable[Claim]) -> None:
        """Offer claims to the next caller of `take`."""
        self._waiting.extend(claims)
        self.arrived.set()

    def give_all(self) -> list[Claim]:
        """Return all claims that wait for a caller."""
        return self.give(len(self._waiting))

    def give(self, limit: int) -> list[Claim]:
        """Return up to `limit` claims that wait for a caller, the oldest first."""
        given: list[Claim] = []
        while self._waiting and len(given) < limit:
            claim = self._waiting.popleft()
            if not claim.lost:
                given.append(claim)
        return given

    # --- ending

    def ours(self, claims: Iterable[Claim]) -> list[Claim]:
        """Return the claims that this process holds as far as is known here."""
        return [claim for claim in claims if not claim.lost and self._held.get(name_of(claim.entry)) is claim]

    def ending(self, claims: Iterable[Claim]) -> None:
        """Note that these claims are being ended: a taken node that is gone later was deleted by this process."""
        self._ending.update(name_of(claim.entry) for claim in claims)

    def drop(self, claim: Claim) -> None:
        """Forget a claim that has ended."""
        name = name_of(claim.entry)
        if self._held.get(name) is claim:
            del self._held[name]
            self._ending.discard(name)

    def revoke(self, claims: Sequence[Claim]) -> None:
        """Mark claims as revoked: another process may hold the entries although the session lives."""
        claims = self.ours(claims)
        for claim in claims:
            log.warning("%s, job %s: claim lost, its node in %s is not ours", claim.entry, claim.job, TAKEN)
            claim.revoked = True
            self.drop(claim)
        self._tell(claims)

    # --- as the server sees it

    def owned(self) -> set[str]:
        return {taken_path(name) for name in self._held}

    def gone(self, membership: Membership, paths: set[str]) -> None:
        revoked = []
        for claim in [self._held[name] for name in map(name_of, paths & self.owned())]:
            if name_of(claim.entry) in self._ending:
                self.drop(claim)  # the end succeeded and the answer was lost
            else:
                revoked.append(claim)
        if revoked:
            self.revoke(revoked)

    def found(self, membership: Membership, paths: set[str]) -> None:
        """Take over entries whose take succeeded on the server while the answer was lost."""
        names = sorted(name_of(path) for path in paths if path.startswith(f"{TAKEN}/"))
        if not names:
            return
        (entries,) = membership.query([membership.nodes.read(map(entry_path, names))])
        if isinstance(entries, Exception):
            return  # the next reconnection finds them again
        claims = []
        for name, entry in zip(names, entries, strict=True):
            if isinstance(entry, tuple):
                claims.append(self.add(membership, name, *entry))
            else:
                membership.post(membership.nodes.delete(taken_path(name)))
        log.info("%d entries had been taken, and the answers lost", len(claims))
        self.offer(claim for claim in claims if claim is not None)

    def ended(self, membership: Membership) -> None:
        self._tell(list(self._held.values()))
        self._held.clear()
        self._waiting.clear()
        self._ending.clear()

    def _tell(self, claims: Sequence[Claim]) -> None:
        known = [claim for claim in claims if claim not in self._waiting]
        if known:
            self._lost(known)
