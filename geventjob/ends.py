"""The exceptions by which the engine ends an action whose code still runs.

Both derive from GreenletExit: gevent prints no traceback of a greenlet that ends by them, and `except Exception` in an
action does not swallow them.
"""

from gevent import GreenletExit


class JobLost(GreenletExit):
    """The job is lost to this executor. Every call of the `job` object raises this too."""


class JobStopped(GreenletExit):
    """A stop of the job was requested."""
