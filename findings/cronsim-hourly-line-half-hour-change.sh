#!/usr/bin/env bash
# cronsim 2.8 leaves a gap of 90 minutes in a line that fires every hour, where a zone puts its clock back by half an hour.
# Lord Howe goes from 02:00 (+11:00) back to 01:30 (+10:30) at 15:00 UTC on 2027-04-03. `45 * * * *` fires at 01:45 before the
# change (14:45 UTC), and the clock shows 01:45 again at 15:15 UTC. Debian's cron treats a line whose hour field is `*` as one
# of real time and fires then, too; so does cronsim where the change is an hour. Here it goes on at 16:15.
#
# Seen: 13:45 14:45 16:15 17:15 (UTC); in Berlin, autumn: 00:45 01:45 02:45 03:45 without a gap
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cronsim==2.8 tzdata==2026.6
PYTHONTZPATH='' "$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from cronsim import CronSim


def firings(zone, start):
    line = CronSim("45 * * * *", start.astimezone(ZoneInfo(zone)))
    return [f"{next(line).astimezone(timezone.utc):%H:%M}" for _ in range(4)]


half = firings("Australia/Lord_Howe", datetime(2027, 4, 3, 13, tzinfo=timezone.utc))
whole = firings("Europe/Berlin", datetime(2027, 10, 31, 0, tzinfo=timezone.utc))
print("Lord Howe", half, " Berlin", whole)
assert half == ["13:45", "14:45", "16:15", "17:15"], "the gap has changed"
assert whole == ["00:45", "01:45", "02:45", "03:45"], "the change of an hour has changed"
PYTHON
