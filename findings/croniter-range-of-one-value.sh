#!/usr/bin/env bash
# croniter 7.0.0 takes a range of one value for the whole cycle: `0 3-3 * * *` fires at every hour, `0 0 10-10 * *` on every
# day. crontab(5) of Debian, cronsim and most other readers fire at 3:00, and on the 10th. It raises no error, so a line that a
# program composes as FIRST-LAST fires up to 60 times too often.
#
# Seen:
#   0 3-3 * * *     2027-01-01 01:00, 02:00, 03:00
#   0 0 10-10 * *   2027-01-02, 2027-01-03, 2027-01-04
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime, timezone

from croniter import croniter
from cronsim import CronSim

start = datetime(2027, 1, 1, tzinfo=timezone.utc)
for line, seen, expected in (
    ("0 3-3 * * *", ["01-01 01:00", "01-01 02:00", "01-01 03:00"], ["01-01 03:00", "01-02 03:00", "01-03 03:00"]),
    ("0 0 10-10 * *", ["01-02 00:00", "01-03 00:00", "01-04 00:00"], ["01-10 00:00", "02-10 00:00", "03-10 00:00"]),
):
    fires = croniter(line, start, ret_type=datetime)
    found = [f"{fires.get_next():%m-%d %H:%M}" for _ in range(3)]
    other = CronSim(line, start)
    of_cronsim = [f"{next(other):%m-%d %H:%M}" for _ in range(3)]
    print(f"{line:15} croniter {found}  cronsim {of_cronsim}")
    assert found == seen, "croniter has changed"
    assert of_cronsim == expected, "cronsim has changed"
PYTHON
