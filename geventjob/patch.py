"""Monkey-patching. `import geventjob.patch` is the first import of an entry point, and of no other module.

The command line is masked first, since all other imports take seconds on a busy machine; then gevent patches.
Library modules never patch: `geventjob.Client` must work in programs that do not run on gevent.
"""

from geventjob.title import mask_early

mask_early()

import importlib.metadata

from gevent import monkey

# gevent looks for plug-ins of its patching 25 times, and reads the metadata of all installed packages each time: a
# quarter of the CPU of a start. Between two of these there is nothing that installs a package.
read_installed = importlib.metadata.entry_points
importlib.metadata.entry_points = read_installed().select
try:
    monkey.patch_all()
finally:
    importlib.metadata.entry_points = read_installed
