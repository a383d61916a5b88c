"""`/ui`: the page in the browser. Its files are open to everybody; all data come from the API."""

from __future__ import annotations

from typing import Any

import falcon

from geventjob.server.page import PageFile

POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""Headers of the files: no script or style in the document, no other host, no frame around the page, and no text of a
job as HTML (docs/security.md, "The page in the browser")."""


class PageResource:
    """One file of the page."""

    def __init__(self, file: PageFile) -> None:
        self._file = file

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the file."""
        resp.set_headers(POLICY)
        resp.content_type = self._file.media_type
        resp.set_header("Vary", "Accept-Encoding")
        if "gzip" in (req.get_header("Accept-Encoding") or ""):
            resp.set_header("Content-Encoding", "gzip")
            resp.data = self._file.packed
        else:
            resp.data = self._file.data


def lead_to_page(req: falcon.Request, resp: falcon.Response, **_: Any) -> None:
    """Lead a browser from `/` to the page. Raises HTTPRouteNotFound, the response to all other clients."""
    if req.method != "GET" or "text/html" not in (req.get_header("Accept") or ""):
        raise falcon.HTTPRouteNotFound
    resp.status = 303
    resp.set_header("Location", "ui")  # relative: a proxy may serve the page below a path
