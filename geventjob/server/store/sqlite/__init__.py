"""The store of one machine: an SQLite file in WAL mode, owned by one server."""

from geventjob.server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
