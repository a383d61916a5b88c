"""API keys: creation, log-in, expiry (docs/reference/api.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import COOKIE
from tests.support.fleet import until
from tests.support.job_server import Caller, JobServer, good, problem

ALPHABET = "[23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ]"
GENERATE = "credential-template/generate-api-key"

MakeUser = Callable[[str], Caller]


def make(caller: Caller, **template: Any) -> tuple[str, str]:
    """Add a key; return id and secret."""
    answer = caller.post("credential", {"credentialTemplate": {"href": GENERATE, **template}})
    assert answer.status_code == 201, answer.text
    return answer.json()["resource-id"], answer.json()["secretKey"]


def log_in(server: JobServer, key: str, secret: str) -> Caller:
    caller = server.anonymous()
    answer = caller.login_by_key(key, secret)
    assert answer.status_code == 201, answer.text
    return caller


def test_the_secret_is_shown_once(server: JobServer, user: MakeUser) -> None:
    caller = user("keyed")
    body = {"name": "ci", "description": "builds", "credentialTemplate": {"href": GENERATE}}
    answer = caller.post("credential", body)
    made = answer.json()
    id, secret = made["resource-id"], made["secretKey"]
    assert answer.status_code == 201
    assert answer.headers["Location"] == id
    assert made == {"status": 201, "message": f"{id} created", "resource-id": id, "secretKey": secret}
    assert re.fullmatch(rf"({ALPHABET}{{6}}\.){{4}}{ALPHABET}{{6}}", secret)
    assert re.fullmatch(r"credential/[0-9a-f-]{36}", id)

    shown = good(caller.get(id))
    assert shown["resourceURI"] == "http://sixsq.com/slipstream/1/Credential"
    assert (shown["name"], shown["description"]) == ("ci", "builds")
    assert (shown["type"], shown["method"]) == ("api-key", "generate-api-key")
    assert shown["claims"] == {"identity": "keyed", "roles": ["ANON", "USER"]}
    assert shown["operations"] == [{"rel": "delete", "href": id}]
    assert "expiry" not in shown
    assert not [name for name in shown if name.startswith("_")]
    for found in (caller.get(id), caller.get("credential")):
        assert secret not in found.text
    assert secret not in server.log
    assert secret.encode() not in (server.data_dir / "store.db-wal").read_bytes()
    assert secret.replace(".", "").encode() not in (server.data_dir / "store.db-wal").read_bytes()


def test_a_log_in_by_key(server: JobServer, user: MakeUser) -> None:
    id, secret = make(user("robot"))
    for key, shown in (
        (id, secret),
        (id.partition("/")[2], secret),
        (id, secret.replace(".", "")),
        (id, f" 1l{secret.replace('.', ' - ')}0O\n"),  # whatever is no letter of a secret does not count
    ):
        caller = log_in(server, key, shown)
        session = good(caller.get("session"))["sessions"][0]
        assert (session["username"], session["method"]) == ("robot", "api-key")
        assert session["sessionTemplate"] == {"href": "session-template/api-key"}
        assert session["credential"] == {"href": id}
        assert set(session["roles"].split()) == {"USER", "ANON", session["id"]}
        assert good(caller.get("user/robot"))["id"] == "user/robot"
    form = {"href": "session-template/api-key", "key": id, "secret": secret}
    caller = server.anonymous()
    assert caller("POST", "session", data=form).status_code == 201
    assert good(caller.get("session"))["count"] == 1


def test_a_wrong_log_in_by_key(server: JobServer, user: MakeUser) -> None:
    id, secret = make(user("lock"))
    other, others = make(server.login())
    for key, shown in (
        (id, others),
        (other, secret),
        (id, ""),
        (id, secret[:-1]),
        (id, secret.swapcase()),
        ("credential/00000000-0000-0000-0000-000000000000", secret),
        ("", ""),
        ("user/lock", secret),
        ("secret/cookie", secret),
    ):
        answer = server.anonymous().login_by_key(key, shown)
        body = problem(answer, 403)
        assert body == {"status": 403, "message": f"invalid credentials for '{key}'", "resource-id": key}
        assert "Set-Cookie" not in answer.headers
    assert secret[:-1] not in server.log
    template = {"href": "session-template/api-key", "key": id, "password": secret}
    problem(server.anonymous().post("session", {"sessionTemplate": template}), 400, "`password`")


def test_a_key_that_is_deleted_ends_its_sessions(server: JobServer, user: MakeUser) -> None:
    owner = user("deleter")
    (one, ones), (other, others) = make(owner), make(owner)
    session, kept = log_in(server, one, ones), log_in(server, other, others)
    assert good(owner.delete(one)) == {"status": 200, "message": f"{one} deleted", "resource-id": one}
    problem(session.get("job"), 403)
    good(kept.get("job"))
    good(owner.get("job"))
    problem(server.anonymous().login_by_key(one, ones), 403)
    problem(owner.get(one), 403)
    problem(owner.delete(one), 403)
    assert [key["id"] for key in good(owner.get("credential"))["credentials"]] == [other]


def test_a_key_ends_in_time_and_its_sessions_with_it(server: JobServer, user: MakeUser) -> None:
    owner = user("hasty")
    id, secret = make(owner, ttl=2)
    assert good(owner.get(id))["created"] < good(owner.get(id))["expiry"]
    caller = log_in(server, id, secret)
    session = good(caller.get("session"))["sessions"][0]
    assert session["expiry"] == good(owner.get(id))["expiry"]
    cookie = {"Cookie": f"{COOKIE}={caller.http.cookies[COOKIE]}"}
    good(server.anonymous().get("job", headers=cookie))
    until(lambda: server.anonymous().login_by_key(id, secret).status_code == 403)
    until(lambda: server.anonymous().get("job", headers=cookie).status_code == 403, 3)
    assert good(owner.get(id))["id"] == id


def test_a_new_password_leaves_the_keys(server: JobServer, admin: Caller, user: MakeUser) -> None:
    id, secret = make(user("changing"))
    caller = log_in(server, id, secret)
    good(admin.put("user/changing", {"password": "another one"}))
    problem(caller.get("job"), 403)
    good(log_in(server, id, secret).get("job"))


def test_the_end_of_a_user_ends_his_keys(server: JobServer, admin: Caller) -> None:
    body = {"username": "leaver", "password": "long enough"}
    admin.post("user", body)
    id, secret = make(server.login("leaver", "long enough"))
    caller = log_in(server, id, secret)
    good(admin.delete("user/leaver"))
    problem(caller.get("job"), 403)
    problem(server.anonymous().login_by_key(id, secret), 403)
    problem(admin.get(id), 404)
    admin.post("user", body)
    problem(caller.get("job"), 403)
    problem(server.anonymous().login_by_key(id, secret), 403)
    admin.delete("user/leaver")


def test_the_roles_of_a_key_are_its_users_at_most(server: JobServer, admin: Caller, user: MakeUser) -> None:
    owner = user("rising")
    wish = {"credentialTemplate": {"href": GENERATE, "roles": "ADMIN"}}
    problem(owner.post("credential", wish), 403, "ADMIN")
    early = log_in(server, *make(owner))
    good(admin.put("user/rising", {"roles": "ADMIN USER AUDIT"}))
    problem(early.get("node"), 403)
    late, plain = make(owner), make(owner, roles="AUDIT")
    assert good(owner.get(late[0]))["claims"]["roles"] == ["ADMIN", "ANON", "AUDIT", "USER"]
    assert good(owner.get(plain[0]))["claims"]["roles"] == ["ANON", "AUDIT", "USER"]
    high, low = log_in(server, *late), log_in(server, *plain)
    good(high.get("node"))
    problem(low.get("node"), 403)
    assert "AUDIT" in good(low.get("session"))["sessions"][0]["roles"].split()
    good(admin.put("user/rising", {"roles": "USER"}))
    problem(high.get("node"), 403)
    problem(log_in(server, *late).get("node"), 403)


def test_a_key_makes_no_keys(server: JobServer) -> None:
    caller = log_in(server, *make(server.login()))
    good(caller.get("node"))
    problem(caller.post("credential", {"credentialTemplate": {"href": GENERATE}}), 403, "log in with the password")


def test_a_key_ends_itself_and_harms_nobody_else(server: JobServer, user: MakeUser) -> None:
    owner = user("careless")
    leaked, other = make(owner), make(owner)
    thief = log_in(server, *leaked)
    for method, path in (("DELETE", other[0]), ("DELETE", "user/careless"), ("PUT", "user/careless")):
        problem(thief(method, path, json={"name": "x"} if method == "PUT" else None), 403)
    shown = {key["id"]: key.get("operations") for key in good(thief.get("credential"))["credentials"]}
    assert shown == {leaked[0]: [{"rel": "delete", "href": leaked[0]}], other[0]: None}
    assert good(thief.get("user/careless"))["operations"] == []
    good(thief.delete(leaked[0]))
    problem(thief.get("job"), 403)
    good(log_in(server, *other).get("job"))


def test_the_key_of_an_administrator_governs(server: JobServer, admin: Caller, user: MakeUser) -> None:
    id, _ = make(user("governed"))
    key = make(admin)
    boss = log_in(server, *key)
    assert good(boss.put("user/governed", {"name": "Gov"}))["name"] == "Gov"
    good(boss.delete(id))
    good(boss.delete(key[0]))


def test_keys_are_seen_by_their_owner_and_administrators(server: JobServer, admin: Caller, user: MakeUser) -> None:
    one, other, anybody = user("mine"), user("yours"), server.anonymous()
    id, _ = make(one)
    for stranger in (other, anybody):
        problem(stranger.get(id), 403, "credentials required")
        problem(stranger.delete(id), 403)
    problem(anybody.get("credential"), 403)
    problem(anybody.post("credential", {"credentialTemplate": {"href": GENERATE}}), 403)
    assert good(other.get("credential"))["count"] == 0
    found = one.search("credential", filter="claims/identity='mine'", orderby="created:desc")
    assert found["resourceURI"] == "http://sixsq.com/slipstream/1/CredentialCollection"
    assert found["operations"] == [{"rel": "add", "href": "credential"}]
    assert [(key["id"], key["operations"]) for key in found["credentials"]] == [(id, [{"rel": "delete", "href": id}])]
    assert admin.search("credential", filter=f"id='{id}'")["count"] == 1
    problem(one.put(id, {"name": "x"}), 405)
    good(admin.delete(id))


def test_a_key_that_does_not_fit(user: MakeUser) -> None:
    caller = user("fitting")
    for template, *words in (
        ({"href": "credential-template/ssh"}, "href"),
        ({}, "href"),
        ({"href": GENERATE, "ttl": -1}, "ttl"),
        ({"href": GENERATE, "ttl": 10**11}, "ttl"),
        ({"href": GENERATE, "roles": "user"}, "roles"),
        ({"href": GENERATE, "secret": "mine"}, "`secret`"),
    ):
        problem(caller.post("credential", {"credentialTemplate": template}), 400, *words)
    problem(caller.post("credential", {}), 400, "credentialTemplate")
