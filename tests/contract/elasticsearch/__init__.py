"""What is peculiar to the store over Elasticsearch: a cluster that fails, and its indexes."""
