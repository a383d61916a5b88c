"""The queue in the file. A taken entry belongs to a session, and only a call in the name of the session changes it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from geventjob.clock import boottime
from geventjob.coordination.base import Claim, QueueStats, Session, Waiting
from geventjob.coordination.names import distance, entry_path, parse_entry
from geventjob.coordination.sqlite.bell import QUEUE
from geventjob.coordination.sqlite.database import Transaction
from geventjob.coordination.sqlite.elections import SqliteLeadership, check
from geventjob.coordination.sqlite.sessions import ALIVE, alive

_LISTED = "sequence IN (SELECT value FROM json_each(?))"


def put(
    tx: Transaction,
    items: Sequence[tuple[str, int]],
    places: Sequence[str | None] = (),
    leadership: SqliteLeadership | None = None,
) -> list[str]:
    """Put (job, priority) pairs at their places or at the end, and return the paths of the entries."""
    check(tx, leadership)
    back = _put_back(tx, items, places) if any(places) else {}
    rest = [item for number, item in enumerate(items) if number not in back]
    new = iter(_put_new(tx, rest) if rest else ())
    _wake_takers(tx, len(items))
    return [back.get(number) or next(new) for number in range(len(items))]


def _put_back(tx: Transaction, items: Sequence[tuple[str, int]], places: Sequence[str | None]) -> dict[int, str]:
    """Put items at their places again where these are free. Return number of an item → path."""
    last = tx.value("SELECT seq FROM sqlite_sequence WHERE name = 'entry'") or 0
    rows: dict[int, tuple[int, str, int]] = {}  # sequence → number of the item, job, priority
    for number, ((job, priority), place) in enumerate(zip(items, places, strict=True)):
        shown = parse_entry(place) if place else None
        if shown is not None and shown[0] == priority and distance(shown[1], last) <= 0:
            rows.setdefault(last + distance(shown[1], last), (number, job, priority))
    values = json.dumps([[sequence, job, priority] for sequence, (_, job, priority) in rows.items()])
    tx.change(
        "INSERT OR IGNORE INTO entry (sequence, job, priority, put_at) SELECT json_extract(value, '$[0]'), "
        "json_extract(value, '$[1]'), json_extract(value, '$[2]'), ? FROM json_each(?)",
        *(time.time(), values),
    )
    free = tx.rows("sequence, job, priority", f"FROM entry WHERE owner IS NULL AND {_LISTED}", json.dumps(list(rows)))
    mine = [(sequence, rows[sequence][0]) for sequence, job, priority in free if rows[sequence][1:] == (job, priority)]
    return {number: entry_path(items[number][1], sequence) for sequence, number in mine}


def _put_new(tx: Transaction, items: Sequence[tuple[str, int]]) -> list[str]:
    """Put items at the end."""
    last = tx.insert(
        "INSERT INTO entry (job, priority, put_at) "
        "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ? FROM json_each(?) ORDER BY key",
        *(time.time(), json.dumps(items)),
    )
    first = last - len(items) + 1  # the lock keeps other inserts out
    return [entry_path(priority, first + i) for i, (_, priority) in enumerate(items)]


def remove(tx: Transaction, entries: Sequence[str], leadership: SqliteLeadership | None = None) -> list[bool]:
    """Delete the entries that no process holds. Return for each entry whether it is gone."""
    check(tx, leadership)
    found = _find(tx, entries)
    free = [sequence for sequence, (_, owner) in found.items() if owner is None]
    held = {path for path, owner in found.values() if owner is not None}
    tx.change(f"DELETE FROM entry WHERE {_LISTED}", json.dumps(free))
    return [path not in held for path in entries]


def discard(tx: Transaction, entries: Sequence[str]) -> None:
    """Delete the entries, held or not."""
    tx.change(f"DELETE FROM entry WHERE {_LISTED}", json.dumps(list(_find(tx, entries))))


def holders(tx: Transaction, entries: Sequence[str]) -> list[str | None]:
    """Return for each entry the name of the process that holds it, or None."""
    found = {path: owner for path, owner in _find(tx, entries).values() if owner is not None}
    numbers = json.dumps(list(found.values()))
    names = dict(tx.rows("id, name", "FROM session WHERE id IN (SELECT value FROM json_each(?))", numbers))
    return [names.get(found.get(path)) for path in entries]


def jobs(tx: Transaction, entries: Sequence[str]) -> list[str | None]:
    """Return for each entry its text, None for an entry that is not in the queue."""
    rows = tx.rows("sequence, priority, job", f"FROM entry WHERE {_LISTED}", json.dumps(_sequences(tx, entries)))
    found = {entry_path(priority, sequence): job for sequence, priority, job in rows}
    return [found.get(path) for path in entries]


def fences(tx: Transaction, entries: Sequence[str]) -> list[int | None]:
    """Return the last fence of the file for each entry in the queue, None for the others."""
    last = int(tx.value("SELECT last FROM fence"))
    return [None if job is None else last for job in jobs(tx, entries)]


def take(
    tx: Transaction, session: Session, limit: int, exclude: Collection[str], waits: bool, oldest: int = 0
) -> list[tuple[int, Claim]] | None:
    """Take up to `limit` free entries: (sequence, claim) in order; None for a session that is over.

    `oldest`: how many of them are the oldest entries, whatever their priorities. With `waits`, the taker is woken when
    an entry arrives, if there are none now.
    """
    if not tx.change("UPDATE fence SET last = last + 1 WHERE " + ALIVE, *alive(session)):
        return None
    number = int(session.id)
    passed_over = _sequences(tx, exclude)
    rows = _free(tx, "entry NOT INDEXED", "sequence", passed_over, oldest) if oldest else []
    passed_over += [sequence for _, sequence, *_ in rows]
    rows += _free(tx, "entry", "priority, sequence", passed_over, limit - len(rows))
    tx.change(
        f"UPDATE entry SET owner = ? WHERE {_LISTED}",
        *(number, json.dumps([sequence for _, sequence, *_ in rows])),
    )
    if waits:
        tx.change("UPDATE session SET wants = ?, asked = ? WHERE id = ?", 0 if rows else limit, boottime(), number)
    return [
        (sequence, Claim(entry_path(priority, sequence), job, fence, put_at, session))
        for priority, sequence, job, put_at, fence in sorted(rows)
    ]


def _free(tx: Transaction, table: str, order: str, passed_over: Sequence[int], count: int) -> list[list[Any]]:
    """Return the first free entries in an order. By sequence, the table itself is read: its old entries are few."""
    return tx.rows(
        "priority, sequence, job, put_at, (SELECT last FROM fence)",
        f"FROM {table} WHERE owner IS NULL AND NOT {_LISTED} ORDER BY {order} LIMIT ?",
        *(json.dumps(passed_over), count),
    )


def withdraw(tx: Transaction, session: Session) -> None:
    """Note that the taker no longer waits. Wake another taker if this one was woken for entries that it leaves."""
    if not tx.change("UPDATE session SET wants = 0 WHERE id = ? AND wants > 0", int(session.id)):
        _wake_takers(tx)


def consume(tx: Transaction, claims: Sequence[tuple[int, Claim]]) -> None:
    """Delete the entries of the claims that are not lost."""
    _end(tx, "DELETE FROM entry", claims)


def release(tx: Transaction, claims: Sequence[tuple[int, Claim]]) -> None:
    """Free the entries of the claims that are not lost."""
    if _end(tx, "UPDATE entry SET owner = NULL", claims):
        _wake_takers(tx)


def _end(tx: Transaction, change: str, claims: Sequence[tuple[int, Claim]]) -> int:
    mine = [(sequence, claim) for sequence, claim in claims if not claim.lost]
    if not mine:
        return 0
    owner = int(mine[0][1].session.id)  # a process has at most one session that is not over
    return tx.change(f"{change} WHERE owner = ? AND {_LISTED}", owner, json.dumps([sequence for sequence, _ in mine]))


def ahead(tx: Transaction, entry: str) -> int | None:
    """Return the number of free entries before this one; 3 ms at 100,000 entries."""
    for sequence in _find(tx, [entry]):
        priority, _ = parse_entry(entry) or (0, 0)
        before = "owner IS NULL AND (priority, sequence) < (?, ?)"
        return int(tx.value(f"SELECT count(*) FROM entry WHERE {before}", priority, sequence) or 0)
    return None


def stats(tx: Transaction, head: int) -> QueueStats:
    """Return the figures of the queue; 3 ms at 100,000 entries."""
    entries = tx.value("SELECT count(*) FROM entry")
    taken: Counter[str] = Counter()
    for name, count in tx.rows("name, count(*)", "FROM entry JOIN session ON owner = session.id GROUP BY owner"):
        taken[name] += count
    free = _first(tx, "owner IS NULL", head)
    first = sorted(free + _first(tx, "owner IS NOT NULL", head))
    return QueueStats(
        entries=entries,
        taken=sum(taken.values()),
        oldest=max(0.0, time.time() - first[0][3]) if first else None,
        head=_waiting(first[:head]),
        next=_waiting(free),
        holders=taken,
    )


def _first(tx: Transaction, which: str, count: int) -> list[list[Any]]:
    source = f"FROM entry LEFT JOIN session ON session.id = owner WHERE {which} ORDER BY priority, sequence LIMIT ?"
    return tx.rows("priority, sequence, job, put_at, session.name", source, count)


def _waiting(rows: Iterable[Sequence[Any]]) -> list[Waiting]:
    return [Waiting(entry_path(p, s), p, job, holder) for p, s, job, _, holder in rows]


def _find(tx: Transaction, entries: Collection[str]) -> dict[int, tuple[str, int | None]]:
    """Return sequence → (path, owner) of the entries that are in the queue."""
    rows = tx.rows("sequence, priority, owner", f"FROM entry WHERE {_LISTED}", json.dumps(_sequences(tx, entries)))
    found = {sequence: (entry_path(priority, sequence), owner) for sequence, priority, owner in rows}
    meant = set(entries)  # the priority is part of the name
    return {sequence: (path, owner) for sequence, (path, owner) in found.items() if path in meant}


def _sequences(tx: Transaction, entries: Collection[str]) -> list[int]:
    """Return the sequences that the paths mean: among those with the same low 32 bits, the one nearest to the last."""
    parsed = [named for named in map(parse_entry, entries) if named is not None]
    if not parsed:
        return []
    last = tx.value("SELECT seq FROM sqlite_sequence WHERE name = 'entry'") or 0
    return [last + distance(shown, last) for _, shown in parsed]


def _wake_takers(tx: Transaction, entries: int | None = None) -> None:
    """Wake the takers that have waited longest, as many as `entries` need; all of them for None.

    A taker that is woken and then frozen keeps no entries from the others: every heartbeat reads the queue.
    """
    woken = []
    for _, number, bell, wants in sorted(tx.rows("asked, id, bell, wants", "FROM session WHERE wants > 0")):
        if entries is not None and entries <= 0:
            break
        tx.ring(bell, QUEUE)
        woken.append(number)
        entries = None if entries is None else entries - wants
    if woken:
        tx.change("UPDATE session SET wants = 0 WHERE id IN (SELECT value FROM json_each(?))", json.dumps(woken))
