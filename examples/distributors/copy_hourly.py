"""Add a `copy_pages` job for each source, every hour."""

from geventjob import Distributor, distributor

SOURCES = {"orders": "https://api.example.org/orders", "customers": "https://api.example.org/customers"}


@distributor("copy_hourly")
class CopyHourly(Distributor):
    """Add one job for each source. A source whose last job still waits or runs gets no second one."""

    interval = 3600

    def jobs(self):
        for name, url in SOURCES.items():
            payload = {"url": url, "file": f"/srv/copies/{name}.jsonl"}
            yield {"action": "copy_pages", "targetResource": {"href": f"source/{name}"}, "payload": payload}
