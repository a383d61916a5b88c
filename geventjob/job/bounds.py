"""Bounds of values that command lines check too: this module imports nothing."""

LOWEST_PRIORITY = 999
"""Priority of a job that names none. A lower number runs first; an entry in the queue has three digits for it."""
MOST_RETRIES = 100
"""Retries of a job at most."""
