"""Cross-site requests: requests that a page of another origin makes a browser send with the user's cookie."""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PORTS = {"http": 80, "https": 443}


def is_cross_site(req: falcon.Request, base_uri: str | None) -> bool:
    """Return whether a browser says that a page of another origin sends this request, which may change state.

    The server's own origins are `base_uri`, the request's `Host`, and a proxy's `X-Forwarded-Host`.
    """
    if req.method in SAFE_METHODS:
        return False
    if (req.get_header("Sec-Fetch-Site") or "").strip().lower() == "cross-site":
        return True
    origin = req.get_header("Origin")
    if origin is None:
        return False
    scheme = origin.partition("://")[0]  # urlsplit refuses some origins
    hosts = [req.get_header("Host"), req.get_header("X-Forwarded-Host")]
    own = {_authority(base_uri or ""), *(_authority(f"{scheme}://{host}") for host in hosts if host)}
    return _authority(origin) not in own - {None}


def _authority(url: str) -> tuple[str, int | None] | None:
    """Return host and port of an address; None for an address without a host."""
    try:
        parts = urlsplit(url)
        return (parts.hostname, parts.port or PORTS.get(parts.scheme)) if parts.hostname else None
    except ValueError:
        return None
