"""The origins of requests: pages of other sites, and the server's own address behind a proxy."""

from __future__ import annotations

import falcon
import pytest
from falcon.testing import create_environ

from geventjob.server.http.client_address import api_address, uses_https
from geventjob.server.http.cross_site import is_cross_site


def request(method: str = "POST", scheme: str = "http", **headers: str) -> falcon.Request:
    """Return a request to `jobs.example:8200`, with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return falcon.Request(
        create_environ(method=method, scheme=scheme, host="jobs.example", port=8200, headers=named or None)
    )


@pytest.mark.parametrize(
    ("headers", "base_uri", "expected"),
    [
        ({}, None, False),  # no browser
        ({"Sec_Fetch_Site": "cross-site"}, None, True),
        ({"Sec_Fetch_Site": " Cross-Site "}, None, True),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://jobs.example:8200"}, None, False),
        ({"Origin": "http://jobs.example:8200"}, None, False),
        ({"Origin": "http://jobs.example"}, None, True),  # another port
        ({"Origin": "http://evil.example"}, None, True),
        ({"Origin": "null"}, None, True),  # a sandboxed frame
        ({"Origin": "http://[::1"}, None, True),
        ({"Origin": "https://public.example"}, "https://public.example/api/", False),
        ({"Origin": "https://public.example:443"}, "https://public.example", False),
        ({"Origin": "http://public.example"}, "https://public.example", True),
        ({"Origin": "https://proxy.example", "X_Forwarded_Host": "proxy.example"}, None, False),
        ({"Origin": "https://evil.example", "X_Forwarded_Host": "proxy.example"}, None, True),
    ],
)
def test_a_page_of_another_origin_is_known(headers: dict[str, str], base_uri: str | None, expected: bool) -> None:
    assert is_cross_site(request(**headers), base_uri) is expected
    for safe in ("GET", "HEAD", "OPTIONS"):
        assert is_cross_site(request(safe, **headers), base_uri) is False


@pytest.mark.parametrize(
    ("headers", "base_uri", "expected"),
    [
        ({}, None, "http://jobs.example:8200/api/"),
        ({}, "https://public.example", "https://public.example/api/"),
        ({}, "https://public.example/api/", "https://public.example/api/"),
        ({"X_Forwarded_Host": "proxy.example", "X_Forwarded_Proto": "https"}, None, "https://proxy.example/api/"),
        ({"X_Forwarded_Host": "proxy.example", "X_Forwarded_Port": "81"}, None, "http://proxy.example:81/api/"),
        ({"X_Forwarded_Host": "[2001:db8::1]:81"}, None, "http://[2001:db8::1]:81/api/"),
        ({"X_Forwarded_Host": "a.example, b.example"}, None, "http://jobs.example:8200/api/"),
        ({"X_Forwarded_Host": "evil/x?"}, None, "http://jobs.example:8200/api/"),
        ({"Host": "evil/x?"}, None, "http://jobs.example:8200/api/"),  # the address that the server listens on
    ],
)
def test_links_have_the_address_that_clients_use(headers: dict[str, str], base_uri: str | None, expected: str) -> None:
    assert api_address(request(**headers), base_uri) == expected


@pytest.mark.parametrize(
    ("scheme", "headers", "base_uri", "expected"),
    [
        ("http", {}, None, False),
        ("https", {}, None, True),
        ("http", {"X_Forwarded_Proto": "HTTPS"}, None, True),
        ("http", {}, "https://public.example", True),
        ("http", {}, "http://public.example", False),
    ],
)
def test_https_is_known(scheme: str, headers: dict[str, str], base_uri: str | None, expected: bool) -> None:
    assert uses_https(request(scheme=scheme, **headers), base_uri) is expected
