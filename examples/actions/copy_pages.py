"""Copy the items of a paged HTTP API into a file, one item of JSON in each line."""

import json
import os
from pathlib import Path

import requests

from geventjob import action


@action("copy_pages", timeout=3600)
def copy_pages(job, url: str, file: str):
    """Copy all pages from `url` into `file`; the payload has both.

    The API answers `{"items": [...], "total": N, "next": URL or null}`. A job may run again after its executor has
    died, so each attempt writes a file of its own and gives the file its name at the end: no reader sees half of the
    items, and a second run does no harm.
    """
    part = Path(f"{file}.{job.attempt}.part")
    copied, page_url = 0, url
    with part.open("w") as out:
        while page_url:
            answer = requests.get(page_url, timeout=30)
            answer.raise_for_status()
            page = answer.json()
            out.writelines(json.dumps(item) + "\n" for item in page["items"])
            copied += len(page["items"])
            job.set_progress(min(100, 100 * copied // max(1, page["total"])))
            page_url = page["next"]
    os.replace(part, file)
    job.set_status_message(f"{copied} items in {file}")
