"""Seam 1: the queue, the elections, presence and the inboxes of a fleet (docs/architecture.md, "Seams")."""

from __future__ import annotations

import os
from argparse import Namespace

from geventjob.coordination.base import Coordination


def open_coordination(settings: Namespace, name: str) -> Coordination:
    """Return the coordination that the settings name, not started: ZooKeeper with `zk_hosts`, else a file in
    `data_dir`.

    `name` is the name of this process in the fleet. The function connects to nothing and opens nothing.
    """
    takes = {"age_share": settings.age_share} if "age_share" in settings else {}  # only executors take
    if settings.zk_hosts:
        from geventjob.coordination.zookeeper import ZooKeeperCoordination

        if "relist_interval" in settings:
            takes["relist_interval"] = settings.relist_interval
        return ZooKeeperCoordination(
            settings.zk_hosts,
            name,
            settings.session_timeout,
            root=settings.zk_root,
            tls_ca=settings.zk_tls_ca,
            tls_cert=settings.zk_tls_cert,
            tls_key=settings.zk_tls_key,
            auth_file=settings.zk_auth_file,
            **takes,
        )
    from geventjob.coordination.sqlite import SqliteCoordination

    return SqliteCoordination(
        os.path.join(settings.data_dir, "coordination.db"), name, settings.session_timeout, **takes
    )
