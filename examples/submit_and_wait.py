"""Submit a job and wait for its outcome: python submit_and_wait.py URL USER PASSWORD_FILE ACTION [PAYLOAD]."""

import json
import sys
from pathlib import Path

from geventjob import Client


def main(url, user, password_file, action, payload="{}"):
    """Return 0 if the job succeeded, else 1."""
    password = Path(password_file).read_text().splitlines()[0]
    with Client(url, user, password) as client:
        id = client.submit(action, json.loads(payload))
        print(f"{id} submitted", flush=True)
        job = client.wait(id)
        print(job["state"], job.get("statusMessage", ""))
        return 0 if job["state"] == "SUCCESS" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
