"""The store seam: where the job server keeps documents (docs/architecture.md, "Seams")."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from geventjob.ownership import Unsafe, private_folder
from geventjob.server.store.base import Store, StoreError


def open_store(settings: Namespace, progress: Callable[[str], None]) -> Store:
    """Return the store that these settings name, not started.

    `progress` is called with words during a start that takes long, as after a change of the tables.

    With `es_hosts_list` the store is an Elasticsearch cluster, else a file in `data_dir`. The folder `data_dir` is made
    in either case. Raises StoreError, OSError.
    """
    try:
        folder = private_folder(settings.data_dir)
    except Unsafe as unsafe:
        raise StoreError(f"--data-dir: {unsafe.strerror}") from None
    if not settings.es_hosts_list:
        from geventjob.server.store.sqlite import SqliteStore

        return SqliteStore(folder / "store.db", progress=progress)
    from geventjob.server.store.elasticsearch import ElasticsearchStore

    return ElasticsearchStore(
        settings.es_hosts_list,
        user=settings.es_user,
        password=settings.es_pass,
        api_key=settings.es_api_key,
        ca=settings.es_ca,
        prefix=settings.es_index_prefix,
    )
