"""Copy the items of a paged HTTP API into a file, one item of JSON in each line."""

import json
import os
from pathlib import Path

import requests

from geventjob import action


@action("copy_pages", timeout=3600)
def copy_pages(job):
    """Copy all pages from `url` of the payload into `file`.

    The API answers `{"items": [...], "total": N, "next": URL or null}`. A job may run again after its executor has
    died, so each attempt writes a file of its own and gives the file its name at the end: no reader sees half of the
    items, and a second run does no harm.
    """
    url, file = job.payload["url"], Path(job.payload["file"])
    part = file.with_name(f"{file.name}.{job.attempt}.part")
    copied = 0
    with part.open("w") as out:
        while url:
            answer = requests.get(url, timeout=30)
            answer.raise_for_status()
            page = answer.json()
            out.writelines(json.dumps(item) + "\n" for item in page["items"])
            copied += len(page["items"])
            job.set_progress(min(100, 100 * copied // max(1, page["total"])))
            url = page["next"]
    os.replace(part, file)
    job.set_status_message(f"{copied} items in {file}")
