"""Monkey-patching. `import geventjob.patch` is the first import of an entry point, and of no other module.

The command line is masked first, since all other imports take seconds on a busy machine; then gevent patches.
Library modules never patch: `geventjob.Client` must work in programs that do not run on gevent.
"""

from geventjob.title import mask_early

mask_early()

from gevent import monkey

monkey.patch_all()
