"""Coordination over a ZooKeeper ensemble, for processes on any number of machines."""

from geventjob.coordination.zookeeper.coordination import ZooKeeperCoordination

__all__ = ["ZooKeeperCoordination"]
