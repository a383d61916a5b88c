"""Monkey-patching of an entry point."""

from __future__ import annotations

import subprocess
import sys

COUNT = """
import importlib.metadata as metadata
reads, distributions, entry_points = [], metadata.distributions, metadata.entry_points
def read(**criteria):
    reads.append(criteria)
    return distributions(**criteria)
metadata.distributions = read
import geventjob.patch, socket
assert metadata.entry_points is entry_points
print(len(reads), socket.socket.__module__)
"""


def test_the_metadata_of_installed_packages_is_read_once() -> None:
    """gevent alone reads it 25 times, which is a quarter of the CPU of a start."""
    ran = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout == "1 gevent._socket3\n"
