"""What comes before all else in an entry point: `import geventjob.patch` is its first line, and that of nothing else.

The command line is masked first, since all other imports take seconds on a busy machine; then gevent patches. A
library module never patches: `geventjob.Client` must be usable in programs that do not run on gevent.
"""

from geventjob.title import mask_early

mask_early()

from gevent import monkey

monkey.patch_all()
