"""The job server: CIMI resources and their rules over a store and a queue."""
