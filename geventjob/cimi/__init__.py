"""The HTTP client of a CIMI server."""
