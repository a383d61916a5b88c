"""Bounds of values that command lines check too: this module imports nothing."""

MOST_RETRIES = 100
"""Retries of a job at most."""
