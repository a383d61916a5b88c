"""A distributor of schedules as data (`geventjob schedules add`)."""

from geventjob import distributor
from geventjob.scheduling.stored import StoredSchedules


@distributor("schedules")
class Schedules(StoredSchedules):
    """Fires the schedules of the server."""
