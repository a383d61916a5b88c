"""Schedules and distributors in words: when one fires, when it fired, and what it made."""

from __future__ import annotations

from collections.abc import Iterator

from geventjob.calendar.schedule import zone_of
from geventjob.calendar.stored import milliseconds
from geventjob.calendar.zones import Zone
from geventjob.cimi.document import Document
from geventjob.cli.moments import words
from geventjob.cli.screen import span

COLUMNS = ("name", "kind", "fires", "action", "next", "last", "leader", "paused")
"""The columns of the list where its output is no terminal."""
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def lines(entry: Document, now: int) -> Iterator[str]:
    """Yield the lines about a schedule or a distributor. `now`: Unix milliseconds."""
    kind = "" if entry["kind"] == "schedule" else "  (distributor)"
    yield "  ".join(filter(None, [entry["name"], timing(entry), entry.get("action")])) + kind
    if "paused" in entry:
        yield f"    paused  {pause(entry, now)}"
    if timing(entry):
        yield f"    next    {following(entry, now)}"
        yield f"    last    {last(entry, now)}"
    yield f"    leader  {entry.get('leader') or 'none'}"


def row(entry: Document) -> tuple[object, ...]:
    """Return the cells of `COLUMNS` about a schedule or a distributor; the dates are in UTC."""
    fired = entry.get("fired") or {}
    paused = entry["paused"].get("why", f"by {entry['paused']['by']}") if "paused" in entry else None
    last = fired.get("tick") or fired.get("at")
    return (
        entry["name"],
        entry["kind"],
        timing(entry),
        entry.get("action"),
        entry.get("next"),
        last,
        entry.get("leader"),
        paused,
    )


def timing(entry: Document) -> str:
    """Return when an entry fires: its crontab line and zone, or its interval; empty for one without ticks."""
    if "cron" in entry:
        return f"{entry['cron']}  {entry.get('timezone', 'UTC')}"
    seconds = entry.get("every", entry.get("interval"))
    return "" if seconds is None else f"each {interval(seconds)}"


def interval(seconds: float) -> str:
    """Return an interval in the largest unit without a fraction.

    >>> interval(90), interval(86400), interval(5400), interval(0.5)
    ('90 s', '1 d', '90 min', '0.5 s')
    """
    for unit, size in UNITS:
        if seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def following(entry: Document, now: int) -> str:
    """Return the next firing, in words and in both times."""
    if "next" not in entry:
        return "none while it is paused" if "paused" in entry else "never"
    moment = milliseconds(entry["next"])
    return f"in {span(max(0.0, (moment - now) / 1000))}: {words(_whole(moment), _zone(entry))}"


def last(entry: Document, now: int) -> str:
    """Return the last firing, in words and in both times, and what it made."""
    fired = entry.get("fired")
    if not fired:
        return "none yet"
    moment = milliseconds(fired.get("tick") or fired["at"])
    by = f", by {fired['by']}" if "by" in fired else ""
    told = made(fired)
    when = f"{span(max(0.0, (now - moment) / 1000))} ago{by}: {words(_whole(moment), _zone(entry))}"
    return f"{when}; made {told}" if told else when


def made(fired: Document) -> str:
    """Return what a firing made; empty if it is not known."""
    if "pending" in fired:
        return f"no job: {fired['pending']} was pending"
    jobs = [fired["job"]] if "job" in fired else fired.get("jobs")
    if jobs is None:
        return ""
    count = fired.get("made", len(jobs))
    more = ", …" if count > len(jobs) else ""
    listed = f": {', '.join(jobs)}{more}" if jobs else ""
    return "no job" if count == 0 else f"{count} job{'' if count == 1 else 's'}{listed}"


def pause(entry: Document, now: int) -> str:
    """Return who has paused a schedule, since when, until when and why."""
    paused, zone = entry["paused"], _zone(entry)
    since = span(max(0.0, (now - milliseconds(paused["at"])) / 1000))
    until = f", until {words(_whole(milliseconds(paused['until'])), zone)}" if "until" in paused else ""
    why = f": {paused['why']}" if "why" in paused else ""
    return f"by {paused['by']} since {since}{until}{why}"


def _whole(moment: int) -> int:
    """Return a moment without the fraction of its second."""
    return moment // 1000 * 1000


def _zone(entry: Document) -> Zone | None:
    """Return the zone of an entry; None for UTC, and for a zone that is not known here."""
    try:
        return zone_of(entry.get("timezone"))
    except ValueError:
        return None
