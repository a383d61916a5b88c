"""The shapes of CIMI: entry point, errors, bounds (docs/reference/cimi.md)."""

from __future__ import annotations

import gzip
import json
import socket

import pytest
import requests

from geventjob.server.http.request_body import FORM
from tests.support.job_server import Caller, JobServer, good, problem


def test_the_entry_point_names_the_collections_to_everybody(server: JobServer) -> None:
    entry = good(server.anonymous().get("cloud-entry-point"))
    assert entry["id"] == "cloud-entry-point"
    assert entry["resourceURI"] == "http://schemas.dmtf.org/cimi/2/CloudEntryPoint"
    assert entry["baseURI"] == f"{server.url}/api/"
    assert entry["geventjob"]["api"] == 1
    assert entry["geventjob"]["version"]
    collections = {name: value["href"] for name, value in entry.items() if isinstance(value, dict) and "href" in value}
    assert collections == {
        "credentials": "credential",
        "credentialTemplates": "credential-template",
        "events": "event",
        "jobs": "job",
        "limits": "limit",
        "pauses": "pause",
        "schedules": "schedule",
        "sessions": "session",
        "sessionTemplates": "session-template",
        "users": "user",
    }


def test_base_uri_follows_the_proxy(server: JobServer) -> None:
    def base(**headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        found: str = good(server.anonymous().get("cloud-entry-point", headers=named))["baseURI"]
        return found

    assert base(X_Forwarded_Proto="https", X_Forwarded_Host="jobs.example") == "https://jobs.example/api/"
    assert base(X_Forwarded_Host="jobs.example", X_Forwarded_Port="8443") == "http://jobs.example:8443/api/"
    assert base(X_Forwarded_Host="<script>") == f"{server.url}/api/"


def test_two_slashes_are_one(server: JobServer) -> None:
    assert good(server.anonymous().get("//api/cloud-entry-point"))["id"] == "cloud-entry-point"


def test_health_is_a_word(server: JobServer) -> None:
    answer = server.anonymous().get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_the_log_in_templates(server: JobServer) -> None:
    anybody = server.anonymous()
    for found in (good(anybody.get("session-template")), good(anybody.put("session-template"))):
        assert found["count"] == 2
        assert found["resourceURI"] == "http://sixsq.com/slipstream/1/SessionTemplateCollection"
        ids = [template["id"] for template in found["sessionTemplates"]]
        assert ids == ["session-template/internal", "session-template/api-key"]
    template = good(anybody.get("session-template/internal"))
    assert (template["method"], template["instance"]) == ("internal", "internal")
    template = good(anybody.get("session-template/api-key"))
    assert (template["method"], template["instance"]) == ("api-key", "api-key")
    assert (template["key"], template["secret"]) == ("key", "secret")
    problem(anybody.get("session-template/oidc"), 404, "session-template/oidc not found")


def test_the_template_of_keys(server: JobServer) -> None:
    found = good(server.anonymous().get("credential-template"))
    assert found["resourceURI"] == "http://sixsq.com/slipstream/1/CredentialTemplateCollection"
    [template] = found["credentialTemplates"]
    assert template == good(server.anonymous().get("credential-template/generate-api-key"))
    assert (template["type"], template["method"], template["ttl"]) == ("api-key", "generate-api-key", 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/api", 404, "unknown resource"),
        ("GET", "/", 404, "unknown resource"),
        ("GET", "/nowhere", 404, "unknown resource"),
        ("GET", "/api/job/1/2/3", 404, "unknown resource"),
        ("GET", "/api/nosuch", 405, "invalid method (get) for /api/nosuch"),
        ("POST", "/api/nosuch/1", 405, "invalid method (post) for /api/nosuch/1"),
        ("PATCH", "/api/job", 405, "invalid method (patch) for /api/job"),
        ("DELETE", "/api/job", 405, "invalid method (delete) for /api/job"),
        ("POST", "/api/job/1", 405, "invalid method (post) for /api/job/1"),
        ("GET", "/api/job/1/stop", 405, "invalid method (get) for /api/job/1/stop"),
        ("DELETE", "/api/cloud-entry-point", 405, "invalid method (delete) for /api/cloud-entry-point"),
        ("POST", "/api/job/1/foo", 404, 'undefined action (post, ["job" "foo"]) for /api/job/1/foo'),
    ],
)
def test_unknown_paths_and_methods(server: JobServer, method: str, path: str, status: int, message: str) -> None:
    body = problem(server.anonymous()(method, path), status)
    assert body["message"] == message
    assert body["resource-id"] == path


def test_a_method_that_nobody_knows(server: JobServer) -> None:
    problem(server.anonymous()("BREW", "job"), 400)


def test_what_is_missing_is_404_for_who_may_see_all(admin: Caller) -> None:
    body = problem(admin.get("job/0b0b0b0b-0000-4000-8000-000000000000"), 404)
    assert body["message"] == "job/0b0b0b0b-0000-4000-8000-000000000000 not found"
    assert body["resource-id"] == "job/0b0b0b0b-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "job"),
        ("PUT", "job"),
        ("POST", "job"),
        ("POST", "job/bulk-add"),
        ("POST", "job/bulk-edit"),
        ("POST", "job/bulk-delete"),
        ("GET", "user"),
        ("POST", "user"),
        ("GET", "node"),
        ("GET", "queue"),
    ],
)
def test_anonymous_may_do_next_to_nothing(server: JobServer, method: str, path: str) -> None:
    body = problem(server.anonymous()(method, path), 403)
    assert body == {"status": 403, "message": "credentials required"}


# --- bodies


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Malformed JSON in request body."),
        (b"{", "Malformed JSON in request body."),
        (b'{"action": "a"} and more', "Malformed JSON in request body."),
        (b'{"action": "\xff"}', "Malformed JSON in request body."),
        (b'{"action": "\\ud800"}', "Malformed JSON in request body."),
        (b'{"action": "a", "payload": {"x": NaN}}', "Malformed JSON in request body."),
        (b"[]", "resource does not satisfy defined schema: "),
        (b'"a"', "resource does not satisfy defined schema: "),
        (b"{}", "action"),
        (b'{"action": ""}', "action"),
        (b'{"action": "a", "nosuch": 1}', "nosuch"),
        (b'{"action": "a", "name": null}', "name"),
        (b'{"action": "a", "priority": 1000}', "priority"),
        (b'{"action": "a", "priority": "1"}', "priority"),
        (b'{"action": "a", "progress": 101}', "progress"),
        (b'{"action": "a", "timeout": 0}', "timeout"),
        (b'{"action": "a", "payload": []}', "payload"),
        (b'{"action": "a", "targetResource": {}}', "targetResource"),
        (b'{"action": "a", "targetResource": {"href": "No Href"}}', "targetResource"),
        (b'{"action": "a", "affectedResources": []}', "affectedResources"),
        (b'{"action": "a", "parentJob": "42"}', "parentJob"),
        (b'{"action": "a", "acl": {"owner": {"principal": "ADMIN"}}}', "acl"),
    ],
)
def test_a_body_that_does_not_fit_is_told_where(admin: Caller, data: bytes, words: str) -> None:
    problem(admin.post("job", data=data, headers={"Content-Type": "application/json"}), 400, words)


def test_a_body_of_another_type(admin: Caller) -> None:
    problem(admin.post("job", data="action=a", headers={"Content-Type": "text/plain"}), 415, "application/json")
    problem(admin.post("job", data="action=a", headers={"Content-Type": FORM}), 415, "application/json")
    problem(admin.post("job", data=b'{"action": "a"}'), 415, "no Content-Type")
    problem(admin.put("job", {"action": "a"}), 415, FORM)


def test_a_body_that_is_compressed(admin: Caller) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(admin.post("job", data=gzip.compress(b'{"action": "a"}'), headers=headers), 415, "Content-Encoding is gzip")


@pytest.mark.parametrize("name", ["filter", "first", "last", "select", "orderby", "aggregation"])
def test_a_parameter_without_its_dollar(admin: Caller, name: str) -> None:
    problem(admin.get(f"job?{name}=1"), 400, f"it is called ${name}")
    problem(admin.put("job", data={name: "1"}), 400, f"it is called ${name}")


# --- who sends a request is known before its body is read


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "job/x"), ("POST", "job"), ("POST", "job/x/stop"), ("PUT", "user/x"), ("POST", "nosuch")],
)
def test_a_body_of_nobody_is_refused_from_the_head_alone(server: JobServer, method: str, path: str) -> None:
    """No byte of the body is sent; a server that waited for the body would not answer."""
    lines = [f"{method} /api/{path} HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 1000000"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


# --- browsers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://other.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "OWN"}, 201),
        ({"Origin": "https://jobs.example", "X-Forwarded-Host": "jobs.example"}, 201),
    ],
)
def test_what_another_site_makes_a_browser_send(
    server: JobServer, admin: Caller, headers: dict[str, str], status: int
) -> None:
    headers = {name: value.replace("OWN", server.url) for name, value in headers.items()}
    assert admin.post("job", {"action": "nothing"}, headers=headers).status_code == status
    assert admin.put("job", headers=headers).status_code == (200 if status == 201 else status)
    assert admin.get("job", headers=headers).status_code == 200


def test_a_body_nested_too_deeply(admin: Caller) -> None:
    for levels in (40, 900, 100_000):
        data = b'{"action":"a","payload":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
        headers = {"Content-Type": "application/json"}
        problem(admin.post("job", data=data, headers=headers), 400, "nested too deeply")


def test_bounds_of_size(admin: Caller) -> None:
    problem(admin.post("job", {"action": "a", "payload": {"x": "y" * 256 * 1024}}), 413, "payload")
    problem(admin.post("job", {"action": "a", "statusMessage": "y" * (1 << 20)}), 413)
    problem(admin.post("job/bulk-add", {"jobs": [{"action": "y" * (4 << 20)}]}), 413)
    problem(admin.post("job/bulk-add", {"jobs": [{"action": "a"}] * 1001}), 400, "1000")
    problem(admin.put("job", data={"$filter": "a" * (1 << 20)}), 413)


def test_a_chunked_body_that_is_too_large(admin: Caller) -> None:
    answer = admin.post("job", data=(b" " * 65536 for _ in range(64)), headers={"Content-Type": "application/json"})
    problem(answer, 413)


def test_a_payload_of_the_greatest_size_is_kept(admin: Caller) -> None:
    payload = {"x": "y" * (256 * 1024 - 8)}
    id = admin.add(payload=payload)
    assert good(admin.get(id))["payload"] == payload


def test_garbage_is_no_http_request(server: JobServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n")
        answer = b""
        while part := sock.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["status"] == 400


def test_an_address_that_is_too_long(server: JobServer) -> None:
    problem(server.anonymous().get("job?$filter=" + "a" * 9000), 414)


def test_headers_that_are_too_large(server: JobServer) -> None:
    problem(server.anonymous().get("job", headers={"X-Large": "a" * 60_000}), 431)


def test_every_request_has_its_answer_on_one_connection(server: JobServer) -> None:
    with requests.Session() as http:
        for _ in range(20):
            assert http.get(f"{server.url}/healthz", timeout=5).text == "ok"
