"""pytest in a gevent process: `python -m tests unit contract`. Patched before anything else, as an entry point is."""

import geventjob.patch  # noqa: F401, I001  (first of all)

import sys

import pytest

sys.exit(pytest.main(sys.argv[1:]))
