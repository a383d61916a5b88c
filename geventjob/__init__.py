"""A distributed job engine for I/O-bound work."""
