"""The gate: by which rules a job waits before the queue, and which jobs wait on what."""
