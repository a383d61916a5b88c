"""Tests of the Elasticsearch store alone: failures of the cluster, indexes, connections."""
