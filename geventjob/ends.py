"""How the engine ends an action whose code still runs: exceptions that are raised in it.

Both derive from GreenletExit, so that gevent prints no traceback of greenlets that end by them, and so that
`except Exception` in an action does not swallow them.
"""

from gevent import GreenletExit


class JobLost(GreenletExit):
    """The job is not this executor's any more; every call of it raises this too (DESIGN §5.1)."""


class JobStopped(GreenletExit):
    """Somebody asked that the job be stopped (DESIGN §5.9)."""
