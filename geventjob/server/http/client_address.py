"""The server's address as clients use it: from `--base-uri`, else from a proxy's headers and the request."""

from __future__ import annotations

import re

import falcon

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def api_address(req: falcon.Request, base_uri: str | None) -> str:
    """Return the address of the API, with `/api/` at its end; `base_uri` may lack this part."""
    if base_uri:
        return base_uri.rstrip("/").removesuffix("/api") + "/api/"
    return f"{'https' if uses_https(req, None) else 'http'}://{_host(req)}/api/"


def uses_https(req: falcon.Request, base_uri: str | None) -> bool:
    """Return whether clients use https, by `base_uri`, by a proxy's `X-Forwarded-Proto`, or by the request itself."""
    forwarded = req.get_header("X-Forwarded-Proto") or ""
    return (base_uri or "").lower().startswith("https:") or "https" in (forwarded.strip().lower(), req.scheme)


def _host(req: falcon.Request) -> str:
    """Return host and port of the proxy, else of the request."""
    port = req.get_header("X-Forwarded-Port")
    forwarded = req.get_header("X-Forwarded-Host")
    if forwarded and port:
        forwarded = f"{forwarded}:{port}"
    for host in (forwarded, req.get_header("Host")):
        if host and _HOST.fullmatch(host):
            return host
    return f"{req.env['SERVER_NAME']}:{req.env['SERVER_PORT']}"
