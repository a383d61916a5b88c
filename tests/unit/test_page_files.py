"""The files of the page: modules joined into one, and the headers of the files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import falcon
import pytest
from falcon import testing

from geventjob.server.page.files import joined, page_files
from geventjob.server.resources.page import PageResource, lead_to_page

PAGE = Path(__file__).parents[2] / "geventjob/server/page"


def test_a_module_follows_those_that_it_imports() -> None:
    modules = {
        "main.js": 'import { b } from "./b.js";\nimport { a } from "./a.js";\nb(a);\n',
        "b.js": 'import { a } from "./a.js";\nexport function b() {\n  return a;\n}\n',
        "a.js": "export const a = 1;\nconst text = 'export';\n",
    }
    assert joined(modules.__getitem__, "main.js") == (
        "// a.js\nconst a = 1;\nconst text = 'export';\n\n"
        "// b.js\nfunction b() {\n  return a;\n}\n\n"
        "// main.js\nb(a);\n"
    )


def test_all_modules_are_in_the_script_and_no_import_is_left() -> None:
    script = page_files()["/ui/page.js"].data.decode()
    names = {path.name for path in PAGE.glob("*.js")}
    assert set(re.findall(r"^// (\w+\.js)$", script, re.MULTILINE)) == names
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


def test_the_script_has_no_way_to_make_html_of_text() -> None:
    script = page_files()["/ui/page.js"].data.decode()
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script) == []


@pytest.fixture
def client() -> testing.TestClient:
    app = falcon.App()
    app.add_sink(lead_to_page, r"/\Z")
    for path, file in page_files().items():
        app.add_route(path, PageResource(file))
    return testing.TestClient(app)


def test_the_policy_allows_no_other_host_and_nothing_inline(client: testing.TestClient) -> None:
    answer = client.simulate_get("/ui")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert " style=" not in answer.text


def test_a_client_that_takes_gzip_gets_less(client: testing.TestClient) -> None:
    plain = client.simulate_get("/ui/page.js", headers={"Accept-Encoding": "br"})
    packed = client.simulate_get("/ui/page.js", headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 2


@pytest.mark.parametrize(
    ("method", "path", "accept", "status"),
    [
        ("GET", "/", "text/html,application/xhtml+xml,*/*;q=0.8", 303),
        ("GET", "/", "*/*", 404),
        ("GET", "/", "application/json", 404),
        ("POST", "/", "text/html", 404),
        ("GET", "/other", "text/html", 404),
    ],
)
def test_a_browser_alone_is_led_to_the_page(
    client: testing.TestClient, method: str, path: str, accept: str, status: int
) -> None:
    answer = client.simulate_request(method, path, headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers.get("location") == ("ui" if status == 303 else None)
