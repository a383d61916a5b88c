"""Seam 1: the queue, the election, presence and the inboxes of a fleet (DESIGN §4)."""

from __future__ import annotations

import os
from argparse import Namespace

from geventjob.coordination.base import Coordination, CoordinationError


def open_coordination(settings: Namespace, name: str) -> Coordination:
    """The coordination that the settings name, not yet started: ZooKeeper with `zk_hosts`, else a file in `data_dir`.

    `name` is what this process is called in the fleet. Nothing is connected or opened here.
    """
    if settings.zk_hosts:
        raise CoordinationError("zk-hosts: coordination over ZooKeeper is not part of this version")
    from geventjob.coordination.sqlite import SqliteCoordination

    return SqliteCoordination(os.path.join(settings.data_dir, "coordination.db"), name, settings.session_timeout)
