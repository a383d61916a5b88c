"""The store of many servers: indexes of an Elasticsearch cluster (7.17, 8.x or 9.x)."""

from geventjob.server.store.elasticsearch.store import ElasticsearchStore

__all__ = ["ElasticsearchStore"]
