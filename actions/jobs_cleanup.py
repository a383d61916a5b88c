"""The action that deletes jobs that ended long ago."""

from datetime import datetime, timedelta, timezone

from geventjob import Action, action

LONGEST = 36_500
INDEX = "slipstream-job"
ENDED = "(state='SUCCESS' or state='FAILED' or state='STOPPED')"


@action("jobs_cleanup", aliases=["cleanup_jobs"])
class JobsCleanup(Action):
    """An action that deletes jobs in a final state whose last change is older than a number of days.

    The payload may hold `days`; the default is `--cleanup-days` of the executor. A SlipStream server deletes one job
    per request: where the executor has `--es-hosts-list`, the action deletes in Elasticsearch, as SlipStream's own
    action of this name does.
    """

    def do_work(self) -> None:
        """Delete the jobs, and put their number into the status message."""
        days = self.days()
        if self.executor.settings.es_hosts_list and self.job.client.dialect.name == "slipstream":
            deleted, since = self.delete_by_query(days), "were added"
        else:
            deleted, since = self.delete(days), "ended"
        self.job.set_status_message(f"{deleted} jobs deleted that {since} more than {days:g} days ago")

    def delete(self, days: float) -> int:
        """Delete jobs through the server in bulk, and return their number."""
        before = datetime.now(timezone.utc) - timedelta(days=days)
        old = f"{ENDED} and updated<'{before.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}'"
        total = self.job.client.search("job", filter=old, last=0)["count"]
        deleted = 0
        while some := self.job.client.bulk_delete(old):
            deleted += some
            self.job.edit(progress=min(99, 100 * deleted // max(total, deleted)))
        return deleted

    def delete_by_query(self, days: float) -> int:
        """Delete jobs in Elasticsearch, and return their number. STOPPED is not a final state in SlipStream."""
        words = f"state:(SUCCESS OR FAILED) AND created:<now-{round(days * 86_400)}s"
        query = {"query": {"query_string": {"query": words}}}
        result = self.executor.es.delete_by_query(index=INDEX, doc_type="_doc", body=query, conflicts="proceed")
        if result["timed_out"] or result["failures"]:
            raise RuntimeError(f"{result['deleted']} jobs deleted, then Elasticsearch failed: {result['failures'][:3]}")
        return int(result["deleted"])

    def days(self) -> float:
        """Return the age in days. Raises ValueError."""
        days = self.job.payload.get("days", self.executor.settings.cleanup_days)
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 <= days <= LONGEST:
            raise ValueError(f"payload: days: expected a number from 0 to {LONGEST}, not {days!r}")
        return float(days)
