"""Run a scenario in this process, and print its findings as JSON."""

import geventjob.patch  # noqa: F401, I001  (first of all)

import json
import sys
from importlib import import_module

module, _, name = sys.argv[1].partition(".")
print(json.dumps(getattr(import_module(f"tests.support.watching.{module}"), name)(*sys.argv[2:])))
