"""Gevent's monkey-patching: `import geventjob.patch` is the first line of every entry point, and of nothing else.

A library module never patches: `geventjob.Client` must be usable in programs that do not run on gevent.
"""

from gevent import monkey

monkey.patch_all()
