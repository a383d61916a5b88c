"""The distributor of the schedules that are data (`geventjob schedules add`)."""

from geventjob import distributor
from geventjob.scheduling.stored import StoredSchedules


@distributor("schedules")
class Schedules(StoredSchedules):
    """Fires the schedules that the server keeps."""
