"""Coordination over a SQLite file, for the processes of one machine."""

from geventjob.coordination.sqlite.coordination import SqliteCoordination

__all__ = ["SqliteCoordination"]
