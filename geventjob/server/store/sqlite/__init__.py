"""The store of one machine: a SQLite file in WAL mode, owned by one server."""

from geventjob.server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
