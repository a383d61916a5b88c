"""Fan out: add a `copy_pages` job for each source, and wait for all of them."""

import time

from geventjob import Action, JobStopped, action

FINAL = {"SUCCESS", "FAILED", "STOPPED"}


@action("copy_all", timeout=24 * 3600)
class CopyAll(Action):
    """Copy each of `sources`, names and addresses, into a file of that name in `folder`.

    The parts run on any executors. This job keeps a slot of its executor while it waits, so give an executor more slots
    (`--threads`) than jobs of this kind run at once.
    """

    def do_work(self):
        job = self.job
        parts = [self.part(name, url) for name, url in job.payload["sources"].items()]
        try:
            states = self.wait(len(parts))
        except JobStopped:
            for id in parts:
                job.client.operation(id, "stop")
            raise
        job.set_status_message(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
        return 0 if set(states) <= {"SUCCESS"} else 1

    def part(self, name, url):
        """Add one part and return its id. The key is that of an earlier attempt: the part is added once."""
        payload = {"url": url, "file": f"{self.job.payload['folder']}/{name}.jsonl"}
        part = {"action": "copy_pages", "name": name, "payload": payload, "parentJob": self.job.id}
        return self.job.client.add("job", part | {"idempotencyKey": f"{self.job.id}/{name}"})

    def wait(self, parts):
        """Wait until every part has ended; return how many parts are in each state. One search serves all parts."""
        while True:
            children = f"parentJob='{self.job.id}'"
            found = self.job.client.search("job", filter=children, last=0, aggregation="terms:state")
            buckets = found["aggregations"]["terms:state"]["buckets"]
            states = {bucket["key"]: bucket["doc_count"] for bucket in buckets}
            ended = sum(count for state, count in states.items() if state in FINAL)
            self.job.set_progress(100 * ended // max(1, parts))
            if ended >= parts:
                return states
            time.sleep(1)
