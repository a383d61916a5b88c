#!/usr/bin/env bash
# libfaketime 0.9.10 with DONT_FAKE_MONOTONIC=1, which its manual offers so that programs see a false date and a true monotonic
# clock: an absolute clock_nanosleep on CLOCK_MONOTONIC, as time.sleep of Python 3.11 and newer makes, fails with EINVAL.
# Without the option the sleep works, and the monotonic clock is false too.
#
# Seen: FAKETIME=+30 sleeps 0.1 s; with DONT_FAKE_MONOTONIC=1 time.sleep(0.1) raises OSError: [Errno 22] Invalid argument
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq libfaketime=0.9.10-2.1 > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
dpkg-deb -x libfaketime_*.deb .
library=$(find "$folder/usr" -name libfaketime.so.1)
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs Python 3.11 or newer"; exit 1; }
sleeps='import time; time.sleep(0.1); print("slept")'
plain=$(LD_PRELOAD=$library FAKETIME=+30 python3 -c "$sleeps" 2>&1 | tail -1 || true)
monotonic=$(LD_PRELOAD=$library FAKETIME=+30 DONT_FAKE_MONOTONIC=1 python3 -c "$sleeps" 2>&1 | tail -1 || true)
echo "FAKETIME=+30: $plain; with DONT_FAKE_MONOTONIC=1: $monotonic"
[ "$plain" = slept ] && [ "$monotonic" = "OSError: [Errno 22] Invalid argument" ]
