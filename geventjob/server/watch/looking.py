"""Changes that the live feed does not hear by itself: of the fleet, the queue, and of jobs that other servers write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from geventjob.clock import boottime, cimi_time, now
from geventjob.coordination.base import Coordination
from geventjob.server.filter import Compare
from geventjob.server.store.base import Query, Store
from geventjob.server.watch.feed import SHOWN, Feed
from geventjob.server.watch.fleet import LONG_LISTS, counts_of, nodes_of

EACH = 1.0
"""Seconds between two looks at the fleet and the queue."""
LONGEST = 30.0
"""Most seconds between two such looks."""
SHARE = 20.0
"""A look at a deep queue costs the coordination CPU: the pause is at least so many times as long as the look took."""
POLL = 0.4
"""Seconds between two looks for changes of other servers: with Elasticsearch's refresh of 1 s each is seen in 2 s."""
ALONE = 1.0
"""Seconds between two looks for another server, while there is none."""
BACK = timedelta(seconds=5)
"""Age of the oldest change that a look finds: clocks of servers differ, and searches see writes late."""
PAGE = 500
"""Most changes that one look reads."""


class FleetLook:
    """Figures of the fleet and the queue for the feed."""

    def __init__(self, coordination: Coordination, feed: Feed) -> None:
        self._coordination = coordination
        self._feed = feed

    def __call__(self) -> float:
        """Tell the feed, and return the seconds until the next look. Raises CoordinationError."""
        since = boottime()
        stats = self._coordination.stats(1)
        nodes = nodes_of(self._coordination, stats)
        pause = min(LONGEST, max(EACH, SHARE * (boottime() - since)))
        short = [{name: value for name, value in node.items() if name not in LONG_LISTS} for node in nodes]
        self._feed.tell("nodes", {"nodes": short})
        self._feed.tell("queue", counts_of(stats) | {"oldest": None if stats.oldest is None else round(stats.oldest)})
        return pause


class OtherServers:
    """Changes of jobs that other servers have made, read from the store that all of them share."""

    def __init__(self, store: Store, coordination: Coordination, feed: Feed) -> None:
        self._store = store
        self._coordination = coordination
        self._feed = feed
        self._alone_until = 0.0

    def __call__(self) -> float:
        """Tell the feed, and return the seconds until the next look. Raises StoreError, CoordinationError."""
        if not self._store.is_shared:
            return LONGEST
        if not self._coordination.members("servers").keys() - {self._coordination.name}:
            return ALONE
        oldest = cimi_time(now() - BACK)
        query = Query(
            Compare(("updated",), ">=", oldest),
            last=PAGE,
            orderby=[("updated", True)],
            select=SHOWN,
            counted=False,
            fresh=False,
        )
        jobs = self._store.search("job", query).documents
        self._feed.note_others(list(reversed(jobs)), is_all=len(jobs) < PAGE)
        return POLL


def look_around(feed: Feed, store: Store, coordination: Coordination) -> None:
    """Let the feed look at the fleet, the queue and the other servers while somebody listens."""
    looks: dict[str, Callable[[], float]] = {
        "the fleet": FleetLook(coordination, feed),
        "the changes of other servers": OtherServers(store, coordination, feed),
    }
    for name, look in looks.items():
        feed.attend(name, look)
