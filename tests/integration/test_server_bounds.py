"""What one request may cost: the bounds that a client meets."""

from __future__ import annotations

from tests.job_server import Caller, JobServer, good, problem


def test_an_answer_without_room_for_all_jobs_says_which_edits_to_repeat(admin: Caller) -> None:
    id = admin.add(payload={"x": "y" * 200_000})
    edits = [{"id": id, "set": {"progress": number % 100}} for number in range(400)]
    results = admin.bulk("edit", edits=edits)["results"]
    whole = [result for result in results if "job" in result]
    assert len(results) == 400
    assert 100 < len(whole) < 200
    assert {result["status"] for result in results[len(whole) :]} == {503}
    assert good(admin.get(id))["progress"] == 99


def test_an_acl_has_a_thousand_rules_at_most(admin: Caller) -> None:
    owner = {"principal": "ann", "type": "USER"}
    rules = [{"principal": f"user-{number}", "type": "USER", "right": "VIEW"} for number in range(1001)]
    problem(admin.post("job", {"action": "nothing", "acl": {"owner": owner, "rules": rules}}), 400, "acl", "1000")
    admin.add(acl={"owner": owner, "rules": rules[:999]})
    problem(admin.post("job", {"action": "nothing", "name": "n" * 256}), 400, "name", "255")


def test_wrong_passwords_make_an_address_wait_but_not_its_keys(server: JobServer, admin: Caller) -> None:
    body = {"username": "flooded", "password": "long enough"}
    assert admin.post("user", body).status_code == 201
    known = server.login("flooded", "long enough")
    template = {"credentialTemplate": {"href": "credential-template/generate-api-key"}}
    key = known.post("credential", template).json()
    for _ in range(5):
        problem(server.anonymous().login("flooded", "wrong"), 403)
    answer = server.anonymous().login("flooded", "long enough")
    problem(answer, 429, "API key")
    assert answer.headers["Retry-After"] == "1"
    assert server.anonymous().login_by_key(key["resource-id"], key["secretKey"]).status_code == 201
