"""The exceptions by which the engine ends an action whose code still runs, and the one of a process that has died.

JobLost and JobStopped derive from GreenletExit: gevent prints no traceback of a greenlet that ends by them, and
`except Exception` in an action does not swallow them.
"""

from gevent import GreenletExit


class JobLost(GreenletExit):
    """The job is lost to this executor. Every call of the `job` object raises this too."""


class JobStopped(GreenletExit):
    """A stop of the job was requested."""


class ProcessDied(Exception):
    """The process of an action with `isolation="process"` has died before its code returned; never raised in code.

    The name is for `retry_on` and `give_up_on` of an action.
    """
