"""The page in a real browser: each screen, each button, log-in, rights, hostile texts, a server that restarts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, Page, Response, expect

from geventjob import Client
from geventjob.cimi.document import COOKIE
from tests.support.fleet import PASSWORD, Fleet, fleet, until
from tests.support.screen import Screen

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>&amp;'\"`"
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
FOCUSED = """(element => element.getAttribute("aria-label") || element.labels?.[0]?.textContent ||
    element.textContent)(document.activeElement)"""
"""The name of the element that has the focus."""
COUNT_PAINTS = """() => {
    window.paints = [];
    const options = {subtree: true, childList: true, characterData: true, attributes: true};
    new MutationObserver(() => paints.push(performance.now())).observe(document.getElementById("main"), options);
    setInterval(() => document.querySelector("tbody input").click(), 20);
}"""
SCREENS = ["overview", "jobs", "failures", "actions", "fleet", "audit"]


@pytest.fixture
def client(world: Fleet) -> Client:
    return world.client()


@pytest.fixture
def mark() -> str:
    """Return a tag by which a test finds its own jobs."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def running(client: Client, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield a job that runs until the test ends, or is stopped."""
    end = tmp_path / "end"
    id = client.add(
        "job", {"action": "talk", "name": "a talk", "priority": 1, "payload": {"until": str(end), "say": HOSTILE}}
    )
    yield until(lambda: (job := client.get(id))["state"] == "RUNNING" and job)
    end.touch()


def waiting(client: Client, mark: str, number: int) -> list[str]:
    """Add jobs of an action that no executor has."""
    job = {"action": "unknown to all", "tags": [mark], "notBefore": "+1h"}
    return [str(id) for id in client.bulk_add([job | {"name": f"job {n}"} for n in range(number)])]


def failed(client: Client, mark: str, text: str = "no such host") -> dict[str, Any]:
    id = client.add("job", {"action": "fail", "name": f"fails {mark}", "tags": [mark], "payload": {"text": text}})
    return until(lambda: (job := client.get(id))["state"] == "FAILED" and job)


def rows(page: Page) -> Any:
    return page.get_by_role("region", name="Table of jobs").locator("tbody tr")


# --- log-in


def test_a_wrong_password_is_told_and_a_right_one_leads_to_the_address(windows: Callable[..., Screen]) -> None:
    page = windows().open("#/jobs?tag=nothing")
    page.get_by_label("User").fill("super")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("User or password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_text("No job matches.")).to_be_visible()
    assert page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)") == "{}{}"


def test_after_the_log_out_nothing_is_shown(windows: Callable[..., Screen]) -> None:
    page = windows().log_in()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_role("navigation")).to_have_count(0)


def test_a_session_that_ends_elsewhere_leads_to_the_log_in(windows: Callable[..., Screen]) -> None:
    page = windows().log_in()
    page.evaluate(
        "fetch('api/session').then((r) => r.json()).then((s) => fetch(`api/${s.sessions[0].id}`, {method: 'DELETE'}))"
    )
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_users_see_their_own_jobs_and_no_fleet(client: Client, windows: Callable[..., Screen], mark: str) -> None:
    client.add("user", {"username": mark, "password": "a secret word", "roles": "USER"})
    acl = {
        "owner": {"principal": "ADMIN", "type": "ROLE"},
        "rules": [{"principal": mark, "type": "USER", "right": "VIEW"}],
    }
    mine = client.add("job", {"action": "unknown to all", "name": "theirs", "acl": acl, "notBefore": "+1h"})
    other = client.add("job", {"action": "unknown to all", "name": "hidden", "notBefore": "+1h"})
    page = windows().log_in(mark, "a secret word")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Overview", "Jobs"])
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("toolbar")).to_have_count(0)
    page.get_by_role("link", name="theirs").click()
    expect(page.get_by_role("heading", name="theirs")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    for address in (f"#/{other}", "#/fleet"):
        page.goto(page.url.partition("#")[0] + address)
        expect(page.get_by_role("heading", name="Not shown")).to_be_visible()
    assert mine


# --- jobs


def test_the_address_is_the_search(page: Page, client: Client, mark: str) -> None:
    waiting(client, mark, 3)
    failed(client, mark)
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_label("Tag").fill(mark)
    page.get_by_label("Tag").press("Enter")
    expect(rows(page)).to_have_count(4)
    page.get_by_role("group", name="State").get_by_role("link", name="FAILED").click()
    expect(rows(page)).to_have_count(1)
    address = page.url
    assert "state=FAILED" in address
    assert f"tag={mark}" in address
    page.go_back()
    expect(rows(page)).to_have_count(4)
    page.goto("about:blank")
    page.goto(address)
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Tag")).to_have_value(mark)


@pytest.mark.parametrize(
    ("field", "value"),
    [("Text", "zebra"), ("Action", "unknown to all"), ("Target", "cloud/zeb"), ("Filter", "priority=7 and name!=null")],
)
def test_each_field_finds_jobs(page: Page, client: Client, mark: str, field: str, value: str) -> None:
    client.add("job", {"action": "fail", "tags": [mark], "payload": {"text": "another"}})
    wanted = {"name": "zebra crossing", "targetResource": {"href": "cloud/zebra"}, "priority": 7, "notBefore": "+1h"}
    client.add("job", {"action": "unknown to all", "tags": [mark], **wanted})
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    expect(rows(page)).to_have_count(2)
    page.get_by_label(field, exact=True).fill(value)
    page.get_by_role("button", name="Search").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("zebra crossing")


def test_a_filter_that_is_none_is_told_at_its_field(page: Page) -> None:
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_label("Filter").fill("state=")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Invalid CIMI filter. position")
    expect(page.get_by_label("Filter")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Filter").fill("state='FAILED'")
    page.get_by_label("Filter").press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("Filter")).not_to_have_attribute("aria-invalid", "true")


def test_a_text_that_no_filter_can_hold_is_told_at_its_field(page: Page) -> None:
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_label("Tag").fill("both ' and \"")
    page.get_by_label("Tag").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("both kinds of quotes")
    expect(page.get_by_label("Tag")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Filter")).not_to_have_attribute("aria-invalid", "true")


def test_pages_and_order(page: Page, client: Client, mark: str) -> None:
    waiting(client, mark, 51)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    expect(rows(page)).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("navigation", name="Pages")).to_contain_text("51 to 51 of 51")
    page.get_by_role("link", name="Previous").click()
    page.get_by_role("link", name="Added").click()
    expect(page.get_by_role("columnheader", name="Added")).to_have_attribute("aria-sort", "ascending")
    assert "sort=created" in page.url


def test_chosen_jobs_are_stopped_and_deleted_after_a_question(page: Page, client: Client, mark: str) -> None:
    ids = waiting(client, mark, 3)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    rows(page).nth(0).get_by_role("checkbox").check()
    rows(page).nth(1).get_by_role("checkbox").check()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Cancel").click()
    assert {client.get(id)["state"] for id in ids} == {"QUEUED"}
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop 2 jobs").click()
    expect(page.get_by_text("2 jobs stopped.")).to_be_visible()
    expect(rows(page).get_by_text("STOPPED")).to_have_count(2)
    page.get_by_label("Select all jobs of this page").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 3 jobs").click()
    expect(page.get_by_text("No job matches.")).to_be_visible()
    assert client.search("job", filter=f"tags='{mark}'", last=0)["count"] == 0


def test_all_that_match_are_deleted(page: Page, client: Client, mark: str) -> None:
    waiting(client, mark, 60)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    page.get_by_label("Select all jobs of this page").check()
    page.get_by_role("button", name="Select all 60 that match").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 60 jobs").click()
    expect(page.get_by_text("60 jobs deleted.")).to_be_visible()
    assert client.search("job", filter=f"tags='{mark}'", last=0)["count"] == 0


def test_all_that_match_are_stopped_and_run_again(page: Page, client: Client, mark: str) -> None:
    waiting(client, mark, 60)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}&filter=" + quote("state!='SUCCESS'"))
    for verb, told in (("Stop", "60 jobs stopped."), ("Rerun", "60 jobs added again.")):
        page.get_by_label("Select all jobs of this page").check()
        page.get_by_role("button", name="Select all 60 that match").click()
        page.get_by_role("button", name=verb).click()
        page.get_by_role("dialog").get_by_role("button", name=f"{verb} 60 jobs").click()
        expect(page.get_by_text(told)).to_be_visible()
    assert client.search("job", filter=f"tags='{mark}' and state='STOPPED'", last=0)["count"] == 60
    assert client.search("job", filter=f"tags='{mark}'", last=0)["count"] == 120


# --- a job


def test_a_running_job_shows_its_log_and_is_stopped(page: Page, running: dict[str, Any]) -> None:
    page.goto(page.url.partition("#")[0] + f"#/{running['id']}")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "40")
    expect(page.get_by_role("region", name="Log").get_by_text(HOSTILE)).to_be_visible()
    page.get_by_role("button", name="Stack now").click()
    record = page.get_by_role("region", name="What it was doing")
    expect(record).to_contain_text("shown.py")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the job").click()
    expect(page.locator(".head")).to_contain_text("STOPPED")


def test_a_held_job_says_why_and_is_released(page: Page, client: Client, mark: str) -> None:
    [id] = waiting(client, mark, 1)
    page.goto(page.url.partition("#")[0] + f"#/{id}")
    expect(page.locator(".why")).to_contain_text("added to run at this time or later")
    page.get_by_role("button", name="Release").click()
    expect(page.locator(".why")).to_contain_text("No executor has the action")


def test_a_parent_shows_its_children(page: Page, client: Client, mark: str) -> None:
    [parent] = waiting(client, mark, 1)
    client.bulk_add([{"action": "unknown to all", "name": "a child", "parentJob": parent, "notBefore": "+1h"}] * 3)
    page.goto(page.url.partition("#")[0] + f"#/{parent}")
    expect(page.get_by_role("region", name="Children", exact=True)).to_contain_text("3 jobs: 3 QUEUED")
    page.get_by_role("link", name="a child").first.click()
    page.get_by_role("region", name="Facts").get_by_role("link", name=parent[4:12]).click()
    page.wait_for_url(lambda url: parent in url)


def test_a_batch_is_closed_and_stopped_with_its_jobs(page: Page, client: Client, token: str, mark: str) -> None:
    waits = {"action": "unknown to all", "notBefore": "+1h", "tags": [mark]}
    batch = {"callback": {"action": "fail", "payload": {"text": ""}}, "jobs": [waits] * 3, "open": True}
    headers = {"Cookie": f"{COOKIE}={token}"}
    answer = requests.post(f"{page.url.partition('/ui')[0]}/api/job/batch", json=batch, headers=headers, timeout=30)
    callback = answer.json()["resource-id"]
    page.goto(page.url.partition("#")[0] + f"#/{callback}")
    page.get_by_role("button", name="Close the batch").click()
    expect(page.get_by_role("region", name="Facts")).to_contain_text("closed: runs when all its jobs have ended")
    page.get_by_role("button", name="Stop").click()
    page.get_by_label("Stop its 3 child jobs too").check()
    page.get_by_role("dialog").get_by_role("button", name="Stop the job").click()
    expect(page.get_by_text("3 jobs stopped.")).to_be_visible()
    assert client.search("job", filter=f"tags='{mark}' and state='STOPPED'", last=0)["count"] == 3


def test_an_error_shows_its_traceback_which_can_be_copied(page: Page, client: Client, mark: str) -> None:
    job = failed(client, mark)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(page.url.partition("#")[0] + f"#/{job['id']}")
    errors = page.get_by_role("region", name="Errors")
    expect(errors).to_contain_text("raise ValueError(text)")
    errors.get_by_role("button", name="Copy").click()
    text = job["errors"][0]["traceback"]
    page.wait_for_function("async (text) => (await navigator.clipboard.readText()) === text", arg=text)


def test_secrets_of_a_payload_are_masked(page: Page, client: Client, mark: str) -> None:
    payload = {"text": "x", "db": {"password": "hunter22"}, "api_token": "abc"}
    id = client.add("job", {"action": "unknown to all", "notBefore": "+1h", "payload": payload})
    page.goto(page.url.partition("#")[0] + f"#/{id}")
    expect(page.get_by_role("region", name="Payload")).to_contain_text('"password": "••••••"')
    assert "hunter22" not in page.content()


def test_hostile_texts_stay_texts(page: Page, client: Client, mark: str) -> None:
    waits = {"action": HOSTILE, "name": HOSTILE, "tags": [mark, HOSTILE], "notBefore": "+1h"}
    rest = {"properties": {HOSTILE: HOSTILE}, "description": HOSTILE, "statusMessage": HOSTILE}
    id = client.add("job", waits | rest | {"payload": {HOSTILE: HOSTILE}})
    job = failed(client, mark, HOSTILE)
    for address in (f"jobs?tag={mark}", id, job["id"], "overview", "failures"):
        page.goto(page.url.partition("#")[0] + f"#/{address}")
        page.locator("main h1").wait_for()
        if address != "failures":
            expect(page.locator("main").get_by_text(HOSTILE).first).to_be_attached()
        assert page.locator("main img, main script").count() == 0
        assert "owned" not in page.title().replace(HOSTILE, "")


def test_a_job_that_is_none_is_told(page: Page) -> None:
    page.goto(page.url.partition("#")[0] + f"#/job/{uuid4()}")
    expect(page.get_by_text("not found")).to_be_visible()
    page.goto(page.url.partition("#")[0] + "#/nowhere")
    expect(page.get_by_text("There is no such screen.")).to_be_visible()


# --- actions and fleet


def test_a_job_is_added_with_a_payload(page: Page) -> None:
    page.get_by_role("link", name="Actions").click()
    page.get_by_role("button", name="Add a job of fail").click()
    page.get_by_label("Payload").fill("{not json")
    page.get_by_role("button", name="Add the job").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Payload:")
    page.get_by_label("Payload").fill('{"text": "from the page"}')
    page.get_by_role("button", name="Add the job").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".head")).to_contain_text("FAILED")
    expect(page.locator(".message")).to_contain_text("from the page")


def test_the_fleet_shows_what_runs_where(page: Page, running: dict[str, Any]) -> None:
    page.get_by_role("link", name="Fleet").click()
    line = page.get_by_role("region", name="Executors", exact=True).locator("tbody tr").filter(has_text="worker")
    expect(line).to_contain_text("a talk")
    head = page.get_by_role("region", name="Table of the head of the queue").locator("tbody tr")
    expect(head.filter(has_text="worker")).to_contain_text(short(running))


def test_the_fleet_shows_the_lag_of_an_executor(page: Page, client: Client) -> None:
    page.get_by_role("link", name="Fleet").click()
    client.submit("hog", {"seconds": 0.6})
    line = page.get_by_role("region", name="Executors", exact=True).locator("tbody tr").filter(has_text="worker")
    expect(line).to_contain_text(re.compile(r"(0\.5|1|2\.5|5|10) s or more"), timeout=30_000)


def short(job: dict[str, Any]) -> str:
    """Return the id of a job as the page shows the id."""
    return str(job["id"].removeprefix("job/")[:8])


def test_a_schedule_is_paused_resumed_and_fired(page: Page, client: Client, mark: str) -> None:
    client.add("schedule", {"name": mark, "cron": "0 3 * * *", "action": "unknown to all"})
    page.get_by_role("link", name="Fleet").click()
    line = page.get_by_role("region", name="Schedules", exact=True).locator("tbody tr").filter(has_text=mark)
    for verb, seen in (("Pause", "paused by super"), ("Resume", "0 3 * * *"), ("Fire", "its job")):
        line.get_by_role("button", name=verb).click()
        page.get_by_role("dialog").get_by_role("button", name=f"{verb} {mark}").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(line).to_contain_text(seen)
    client.delete(f"schedule/{mark}")


def test_a_limit_is_set_changed_and_deleted(page: Page, client: Client, mark: str) -> None:
    page.get_by_role("link", name="Actions").click()
    page.get_by_role("button", name="Set a limit").click()
    dialog = page.get_by_role("dialog")
    for name, value in (("Name", mark), ("Action", f"unknown {mark}"), ("Running", "many")):
        dialog.get_by_label(name, exact=True).fill(value)
    dialog.get_by_role("button", name="Set the limit").click()
    expect(dialog.get_by_role("alert")).to_contain_text("running")
    dialog.get_by_label("Running").fill("2")
    dialog.get_by_role("button", name="Set the limit").click()
    line = page.get_by_role("region", name="Table of limits").locator("tbody tr").filter(has_text=mark)
    expect(line).to_contain_text("2")
    line.get_by_role("button", name="Change").click()
    dialog.get_by_label("Running").fill("3")
    dialog.get_by_role("button", name="Set the limit").click()
    expect(line).to_contain_text("3")
    ids = client.bulk_add([{"action": f"unknown {mark}"}] * 5)
    until(lambda: sum("held" in client.get(str(id)) for id in ids) == 2)
    line.get_by_role("link", name="Show what waits").click()
    expect(rows(page)).to_have_count(2)
    rows(page).first.get_by_role("link").click()
    expect(page.locator(".why")).to_contain_text(mark)
    page.get_by_role("link", name="Actions").click()
    line.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name=f"Delete {mark}").click()
    expect(line).to_have_count(0)


def test_an_executor_is_made_quiet_and_resumes_and_is_stopped(page: Page, world: Fleet) -> None:
    spare = world.executor("spare")
    page.get_by_role("link", name="Fleet").click()
    line = page.get_by_role("region", name="Table of executors").locator("tbody tr").filter(has_text="spare")
    line.get_by_role("button", name="Quiet").click()
    page.get_by_label("Why").fill("a new disk")
    page.get_by_role("dialog").get_by_role("button", name="Quiet spare").click()
    expect(line).to_contain_text("a new disk")
    line.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume spare").click()
    expect(line.get_by_role("button", name="Quiet")).to_be_visible()
    line.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop spare").click()
    expect(line).to_have_count(0)
    assert spare.wait() == 0


def test_an_action_is_paused_and_resumes(page: Page, client: Client, mark: str) -> None:
    page.get_by_role("link", name="Actions").click()
    line = page.get_by_role("region", name="Table of actions").locator("tbody tr").filter(has_text="dummy_test_action")
    line.get_by_role("button", name="Pause dummy_test_action").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Until").fill("soon")
    dialog.get_by_role("button", name="Pause dummy_test_action").click()
    expect(dialog.get_by_role("alert")).to_contain_text("until")
    dialog.get_by_label("Until").fill("+2h")
    dialog.get_by_label("Why").fill("the disk is full")
    dialog.get_by_role("button", name="Pause dummy_test_action").click()
    expect(line).to_contain_text("the disk is full")
    id = client.add("job", {"action": "dummy_test_action"})
    page.goto(page.url.partition("#")[0] + f"#/{id}")
    expect(page.locator(".why")).to_contain_text("paused")
    page.get_by_role("link", name="Actions").click()
    line.get_by_role("button", name="Resume dummy_test_action").click()
    dialog.get_by_role("button", name="Resume dummy_test_action").click()
    expect(line.get_by_role("button", name="Pause dummy_test_action")).to_be_visible()


# --- what needs attention


def test_the_overview_leads_to_the_jobs_and_to_what_needs_attention(page: Page, client: Client, mark: str) -> None:
    client.add("job", {"action": f"unknown {mark}"})
    sentence = page.get_by_role("region", name="Needs attention").get_by_role("listitem").filter(has_text=mark)
    sentence.get_by_role("link", name="Show the jobs").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("img", name="Jobs per minute")).to_be_visible()
    page.locator(".figure").filter(has_text="QUEUED").click()
    assert page.url.endswith("#/jobs?state=QUEUED")


def test_failures_are_grouped(page: Page, client: Client, mark: str) -> None:
    job = failed(client, mark)
    page.get_by_role("link", name="Failures").click()
    line = page.get_by_role("region", name="Table of failures").locator("tbody tr").filter(has_text="ValueError")
    expect(line).to_contain_text("shown.py")
    line.get_by_role("link", name="Show").click()
    expect(rows(page).filter(has_text=mark)).to_have_count(1)
    expect(rows(page).first).to_contain_text("FAILED")
    assert job["state"] == "FAILED"


def test_a_viewer_sees_all_and_has_no_button_that_changes(
    client: Client, windows: Callable[..., Screen], running: dict[str, Any], mark: str
) -> None:
    client.add("user", {"username": mark, "password": "a secret word", "roles": "VIEWER"})
    job = failed(client, mark)
    screen = windows()
    page = screen.log_in(mark, "a secret word")
    for address in [*SCREENS, job["id"], running["id"]]:
        screen.go(address)
        names = page.locator("main").get_by_role("button").all_inner_texts()
        assert set(names) <= {"Search", "Copy"}, address


def test_a_group_of_failures_runs_again(page: Page, client: Client, mark: str) -> None:
    failed(client, mark)
    page.get_by_role("link", name="Failures").click()
    line = page.get_by_role("region", name="Table of failures").locator("tbody tr").filter(has_text="ValueError")
    line.get_by_role("button", name="Rerun").click()
    page.get_by_role("dialog").get_by_role("button", name="Rerun").click()
    expect(page.get_by_text("added again.")).to_be_visible()
    until(lambda: client.search("job", filter=f"tags='{mark}' and state='FAILED'", last=0)["count"] == 2)


def test_who_stopped_and_reran_a_job_is_shown(page: Page, client: Client, mark: str) -> None:
    [id] = waiting(client, mark, 1)
    page.goto(page.url.partition("#")[0] + f"#/{id}")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the job").click()
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("stopped by super")
    page.get_by_role("button", name="Rerun").click()
    page.get_by_role("dialog").get_by_role("button", name="Add the copy").click()
    page.wait_for_url(lambda url: id not in url)
    page.get_by_role("link", name="Audit").click()
    lines = page.get_by_role("region", name="Table of events").locator("tbody tr")
    expect(lines.filter(has_text=id[4:12]).filter(has_text="stopped")).to_have_count(1)
    page.get_by_label("User").fill("nobody at all")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No event matches.")).to_be_visible()


# --- everybody


def test_the_keyboard_alone_leads_to_a_stopped_job(windows: Callable[..., Screen], client: Client, mark: str) -> None:
    [id] = waiting(client, mark, 1)
    page = windows().open(f"#/jobs?tag={mark}")
    page.get_by_label("User").wait_for()

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate(FOCUSED) == name:
                return
        raise AssertionError(f"Tab does not reach {name!r}")

    tab_to("User")
    page.keyboard.type("super")
    tab_to("Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    tab_to("job 0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="job 0")).to_be_visible()
    tab_to("Stop")
    page.keyboard.press("Enter")
    tab_to("Stop the job")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("document.activeElement.textContent") == "Stop"
    page.keyboard.press("Enter")
    tab_to("Stop the job")
    page.keyboard.press("Enter")
    until(lambda: client.get(id)["state"] == "STOPPED")


@pytest.mark.parametrize(("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])])
def test_the_rules_of_axe_hold(
    windows: Callable[..., Screen],
    client: Client,
    running: dict[str, Any],
    mark: str,
    scheme: Any,
    rules: list[str] | None,
) -> None:
    job = failed(client, mark)
    waiting(client, mark, 2)
    screen = windows(color_scheme=scheme)
    page = screen.open()
    page.get_by_label("User").wait_for()
    assert axe(page, rules) == []
    screen.enter()
    for address in [*SCREENS, job["id"], running["id"]]:
        page.goto(page.url.partition("#")[0] + f"#/{address}")
        page.locator("main h1").wait_for()
        assert axe(page, rules) == [], address
    page.get_by_role("button", name="Stop").click()
    assert axe(page, rules) == []


def axe(page: Page, rules: list[str] | None = None) -> list[str]:
    """Return what axe finds against WCAG 2.2 and its best practices, or against these rules alone."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(rules ? {runOnly: rules} : {}).then((result) => result.violations)", rules)
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_and_a_magnified_page_scroll_in_one_direction(
    windows: Callable[..., Screen], client: Client, mark: str, width: int
) -> None:
    """1280 pixels at 400 % are 320."""
    job = failed(client, mark, "a-long-word-" * 40)
    page = windows(viewport={"width": width, "height": 640}).enter()
    for address in [*SCREENS, job["id"]]:
        page.goto(page.url.partition("#")[0] + f"#/{address}")
        page.locator("main h1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_the_page_comes_back_after_a_restart_of_the_server(browser: Browser, tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        server = made.server()
        context = browser.new_context()
        page = Screen(context.new_page(), made.url).log_in()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        server.stop()
        page.get_by_role("link", name="Jobs", exact=True).click()
        expect(page.get_by_text("the job server is out of reach")).to_be_visible()
        expect(page.get_by_role("navigation")).to_be_visible()
        made.server()
        expect(page.get_by_text("No job matches.")).to_be_visible()
        expect(page.get_by_text("the job server is out of reach")).to_have_count(0)
        context.close()


def test_a_store_that_is_away_is_told_and_what_was_shown_stays(page: Page, client: Client, mark: str) -> None:
    """The answer is the server's own: SQLite is not away."""
    waiting(client, mark, 2)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    expect(rows(page)).to_have_count(2)
    message = "the store is out of reach: no node answers"
    page.route("**/api/job", lambda route: route.fulfill(status=503, json={"status": 503, "message": message}))
    page.get_by_role("link", name="Added").click()
    expect(page.get_by_text(message)).to_be_visible()
    expect(rows(page)).to_have_count(2)
    page.unroute("**/api/job")
    expect(page.get_by_text(message)).to_have_count(0)


def test_the_first_screen_is_small(windows: Callable[..., Screen]) -> None:
    screen = windows()
    sizes: dict[str, int] = {}

    def note(answer: Response) -> None:
        if "/api/" not in answer.url:
            sizes[answer.url] = answer.request.sizes()["responseBodySize"]

    screen.page.on("response", note)
    screen.log_in()
    assert len(sizes) <= 3, sizes
    assert sum(sizes.values()) < 100_000, sizes


def test_a_flood_of_changes_is_painted_four_times_a_second(page: Page, client: Client, mark: str) -> None:
    """Each round changes 500 jobs, and somebody clicks fifty times a second meanwhile."""
    ids = waiting(client, mark, 500)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}&sort=name")
    expect(rows(page)).to_have_count(50)
    page.evaluate(COUNT_PAINTS)
    for number in range(200):
        client.bulk_edit([{"id": id, "set": {"name": f"round {number}"}} for id in ids])
        if page.evaluate("paints.length") > 5:
            break
    client.bulk_edit([{"id": id, "set": {"name": "round over"}} for id in ids])
    expect(rows(page).get_by_text("round over")).to_have_count(50)
    paints = page.evaluate("paints")
    assert len(paints) > 5
    assert len(paints) <= 2 + 4 * (paints[-1] - paints[0]) / 1000


def test_changes_are_seen_without_a_look(page: Page, client: Client, mark: str) -> None:
    """The stream of events brings the change: the page asks for no search meanwhile."""
    [id] = waiting(client, mark, 1)
    page.goto(page.url.partition("#")[0] + f"#/jobs?tag={mark}")
    with page.expect_response("**/api/events"):
        page.reload()
    expect(rows(page)).to_have_count(1)
    page.route("**/api/job", lambda route: route.abort())
    client.edit(id, {"name": "by an event"})
    expect(rows(page)).to_contain_text("by an event")


def test_eight_windows_of_a_browser_share_a_stream(windows: Callable[..., Screen], client: Client, mark: str) -> None:
    """A browser has six connections to a server: eight streams would leave none for anything else."""
    first = windows()
    first.enter()
    pages = [first.page, *(first.page.context.new_page() for _ in range(7))]
    for page in pages:
        page.goto(f"{first.url}/ui#/jobs?tag={mark}")
        expect(page.get_by_text("No job matches.")).to_be_visible()
    waiting(client, mark, 1)
    for page in pages:
        expect(rows(page)).to_have_count(1)
    pages[0].close()  # which has the stream
    pages[-1].route("**/api/job", lambda route: route.abort())
    [job] = client.search("job", filter=f"tags='{mark}'")["jobs"]
    client.edit(job["id"], {"name": "by the next stream"})
    for page in pages[1:]:
        expect(rows(page)).to_contain_text("by the next stream")
