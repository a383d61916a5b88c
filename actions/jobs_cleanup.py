"""Deletes jobs that ended long ago."""

from datetime import datetime, timedelta, timezone

from geventjob import Action, action

LONGEST = 36_500
ENDED = "(state='SUCCESS' or state='FAILED' or state='STOPPED')"


@action("jobs_cleanup", aliases=["cleanup_jobs"])
class JobsCleanup(Action):
    """Deletes the jobs in a final state that were last touched more than so many days ago.

    The payload may say `days`; else `--cleanup-days` of the executor counts.
    """

    def do_work(self) -> None:
        days = self.days()
        before = datetime.now(timezone.utc) - timedelta(days=days)
        old = f"{ENDED} and updated<'{before.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}'"
        total = self.job.client.search("job", filter=old, last=0)["count"]
        deleted = 0
        while some := self.job.client.bulk_delete(old):
            deleted += some
            self.job.edit(progress=min(99, 100 * deleted // max(total, deleted)))
        self.job.set_status_message(f"{deleted} jobs deleted that ended more than {days:g} days ago")

    def days(self) -> float:
        days = self.job.payload.get("days", self.executor.settings.cleanup_days)
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 <= days <= LONGEST:
            raise ValueError(f"payload: days: expected a number from 0 to {LONGEST}, not {days!r}")
        return float(days)
