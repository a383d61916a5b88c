"""What this process holds: its claims, from the take to their end, and what the server says of them."""

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
        """`lost` is told of claims that were given to a caller, and are somebody else's now."""
        self._lost = lost
        self.arrived = Event()
        """Set when there are claims to be given."""
        self._held: dict[str, Claim] = {}
        self._waiting: deque[Claim] = deque()  # taken, and not given to a caller yet
        self._ending: set[str] = set()  # consumed or released, as far as was tried

    # --- taking

    def add(self, membership: Membership, name: str, data: bytes | None, stat: ZnodeStat) -> Claim | None:
        """The entry of this name is ours; None if the session is over. `stat` is the entry's since the take."""
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
        """Have them given to whoever takes next."""
        self._waiting.extend(claims)
        self.arrived.set()

    def give_all(self) -> list[Claim]:
        return self.give(len(self._waiting))

    def give(self, limit: int) -> list[Claim]:
        """Up to `limit` of those that wait, first come first."""
        given: list[Claim] = []
        while self._waiting and len(given) < limit:
            claim = self._waiting.popleft()
            if not claim.lost:
                given.append(claim)
        return given

    # --- ending

    def ours(self, claims: Iterable[Claim]) -> list[Claim]:
        """Those that are held, as far as is known here."""
        return [claim for claim in claims if not claim.lost and self._held.get(name_of(claim.entry)) is claim]

    def ending(self, claims: Iterable[Claim]) -> None:
        """Their end is asked for: should they be gone one day, that was their end."""
        self._ending.update(name_of(claim.entry) for claim in claims)

    def drop(self, claim: Claim) -> None:
        """It has ended."""
        name = name_of(claim.entry)
        if self._held.get(name) is claim:
            del self._held[name]
            self._ending.discard(name)

    def revoke(self, claims: Sequence[Claim]) -> None:
        """They are somebody else's, or nobody's, though the session lives."""
        claims = self.ours(claims)
        for claim in claims:
            log.warning("%s, job %s, was taken from us: its node in %s is not ours", claim.entry, claim.job, TAKEN)
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
                self.drop(claim)  # its end was answered, and the answer lost
            else:
                revoked.append(claim)
        if revoked:
            self.revoke(revoked)

    def found(self, membership: Membership, paths: set[str]) -> None:
        """Takes whose answer was lost."""
        names = sorted(name_of(path) for path in paths if path.startswith(f"{TAKEN}/"))
        if not names:
            return
        (entries,) = membership.query([membership.nodes.read(map(entry_path, names))])
        if isinstance(entries, Exception):
            return  # found again after the next reconnection
        claims = []
        for name, entry in zip(names, entries, strict=True):
            if isinstance(entry, tuple):
                claims.append(self.add(membership, name, *entry))
            else:
                membership.post(membership.nodes.delete(taken_path(name)))
        log.info("%d entries had been taken without our knowing", len(claims))
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
