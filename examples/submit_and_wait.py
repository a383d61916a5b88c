"""Submit a job and wait for its outcome: python submit_and_wait.py URL USER PASSWORD_FILE ACTION [PAYLOAD]."""

import json
import sys
import time
from pathlib import Path

from geventjob import Client

FINAL = ("SUCCESS", "FAILED", "STOPPED")


def main(url, user, password_file, action, payload="{}"):
    """Return 0 if the job succeeded, else 1."""
    password = Path(password_file).read_text().splitlines()[0]
    with Client(url, user, password) as client:
        id = client.add("job", {"action": action, "payload": json.loads(payload)})
        print(f"{id} submitted", flush=True)
        progress = 0
        while (job := client.get(id))["state"] not in FINAL:
            if job["progress"] > progress:
                progress = job["progress"]
                print(f"{progress} %", flush=True)
            time.sleep(0.5)
        print(job["state"], job.get("statusMessage", ""))
        return 0 if job["state"] == "SUCCESS" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
