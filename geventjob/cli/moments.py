"""Moments of a schedule, in local time and in UTC, for people and for programs. Ticks are Unix milliseconds."""

from __future__ import annotations

from datetime import datetime, timezone

from geventjob.calendar.zones import Zone


def moment_of(tick: int) -> datetime:
    """Return a tick as an aware moment in UTC."""
    return datetime.fromtimestamp(tick / 1000, timezone.utc)


def utc_date(tick: int) -> str:
    """Return the date of a tick for programs: `2027-03-28T01:00:00Z`."""
    return f"{moment_of(tick):%Y-%m-%dT%H:%M:%SZ}"


def local_date(tick: int, zone: Zone) -> str:
    """Return the date of a tick in a zone for programs: `2027-03-28T03:00:00+02:00`."""
    return zone.local(moment_of(tick)).isoformat(timespec="seconds")


def utc_words(tick: int) -> str:
    """Return the date of a tick for people: `Sun 2027-03-28 01:00 UTC`."""
    moment = moment_of(tick)
    return f"{moment:%a %Y-%m-%d %H:%M}{_seconds(moment)} UTC"


def words(tick: int, zone: Zone | None) -> str:
    """Return the date of a tick for people, in both times: `Sun 2027-03-28 03:00 +02:00 (01:00 UTC)`.

    The day of UTC stands there if it is another day. Without a zone the date is in UTC alone.
    """
    if zone is None:
        return utc_words(tick)
    there, here = moment_of(tick), zone.local(moment_of(tick))
    day = "" if there.date() == here.date() else f"{there:%a} "
    offset = here.isoformat(timespec="minutes")[16:]
    return f"{here:%a %Y-%m-%d %H:%M}{_seconds(here)} {offset} ({day}{there:%H:%M}{_seconds(there)} UTC)"


def _seconds(moment: datetime) -> str:
    """Return the seconds of a moment, where there are any."""
    return f"{moment::%S}" if moment.second else ""
