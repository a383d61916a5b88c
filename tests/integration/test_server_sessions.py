"""Log-in, log-out, users."""

from __future__ import annotations

from collections.abc import Callable

from geventjob.cimi.document import COOKIE
from tests.support.job_server import Caller, JobServer, good, problem

SESSIONS = "http://sixsq.com/slipstream/1/SessionCollection"


def test_a_good_log_in(server: JobServer) -> None:
    caller = server.anonymous()
    answer = caller.login("super", server.password)
    id = answer.json()["resource-id"]
    assert answer.status_code == 201
    assert answer.json() == {"status": 201, "message": f"{id} created", "resource-id": id}
    assert answer.headers["Location"] == id
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=token=")
    assert "Path=/" in cookie
    assert "Expires=" in cookie
    assert "Secure" not in cookie

    session = good(caller.get(id))
    assert session["resourceURI"] == "http://sixsq.com/slipstream/1/Session"
    assert session["username"] == "super"
    assert set(session["roles"].split()) == {"ADMIN", "USER", "ANON", id}
    assert session["sessionTemplate"] == {"href": "session-template/internal"}
    assert session["operations"] == [{"rel": "delete", "href": id}]
    assert session["created"] < session["expiry"]
    assert not [name for name in session if name.startswith("_")]


def test_the_cookie_is_secure_if_the_client_came_over_https(server: JobServer) -> None:
    template = {"href": "session-template/internal", "username": "super", "password": server.password}
    headers = {"X-Forwarded-Proto": "https"}
    answer = server.anonymous().post("session", {"sessionTemplate": template}, headers=headers)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_log_in_by_a_form(server: JobServer) -> None:
    caller = server.anonymous()
    form = {"href": "session-template/internal", "username": "super", "password": server.password}
    assert caller("POST", "session", data=form).status_code == 201
    assert good(caller.get("session"))["count"] == 1


def test_a_wrong_log_in(server: JobServer) -> None:
    for name, password in (("super", "wrong"), ("nobody", "wrong"), ("super", ""), ("", ""), ("a/b", "x")):
        answer = server.anonymous().login(name, password)
        body = problem(answer, 403)
        message = f"invalid credentials for '{name}'"
        assert body == {"status": 403, "message": message, "resource-id": name}
        assert "Set-Cookie" not in answer.headers
    assert "wrong" not in server.log


def test_strangers_fill_no_log_and_a_password_as_the_name_is_not_written(own_server: Callable[..., JobServer]) -> None:
    server = own_server()
    for n in range(5):
        problem(server.anonymous().login(f"typed-password-{n}", "x"), 403)
        assert server.anonymous()("GET", "job", headers={"Host": "a b"}).status_code < 500
    lines = [line for line in server.log.splitlines() if "log-in refused" in line]
    assert [line.partition("] ")[2] for line in lines] == ["log-in refused for an unknown name"]
    assert "typed-password" not in server.log


def test_a_refused_log_in_of_somebody_who_is_known_names_them(own_server: Callable[..., JobServer]) -> None:
    server = own_server()
    problem(server.anonymous().login("super", "wrong"), 403)
    assert "log-in refused for 'super'" in server.log


def test_a_log_in_that_makes_no_sense(server: JobServer) -> None:
    anybody = server.anonymous()
    problem(anybody.post("session", {"sessionTemplate": {"href": "session-template/x"}}), 404, "session-template/x not")
    problem(anybody.post("session", {"sessionTemplate": {"href": "session-template/internal", "x": 1}}), 400, "`x`")
    problem(anybody.post("session", {}), 400, "sessionTemplate")
    problem(anybody.post("session", data=b"{", headers={"Content-Type": "application/json"}), 400, "Malformed JSON")


def test_a_session_sees_itself_alone(server: JobServer) -> None:
    one, other = server.login(), server.login()
    found = good(one.get("session"))
    assert (found["count"], found["id"], found["resourceURI"]) == (1, "session", SESSIONS)
    assert found["operations"] == [{"rel": "add", "href": "session"}]
    own = found["sessions"][0]["id"]
    others = good(other("PUT", "session"))["sessions"][0]["id"]
    assert own != others
    nobody = good(server.anonymous().get("session"))
    assert (nobody["count"], nobody["sessions"]) == (0, [])
    problem(server.anonymous().get(own), 403, "credentials required")


def test_a_user_lists_and_ends_the_own_sessions(server: JobServer, user: Callable[[str], Caller]) -> None:
    one, stranger = user("two-sessions"), user("one-session")
    other = server.login("two-sessions", "secret of two-sessions")
    id = good(other.get("session"))["sessions"][0]["id"]
    found = good(one.get("session?all=true&$orderby=created:desc"))
    assert [session["username"] for session in found["sessions"]] == ["two-sessions"] * found["count"]
    assert found["sessions"][0]["id"] == id
    assert (found["sessions"][0]["address"], found["sessions"][0]["method"]) == ("127.0.0.1", "internal")
    assert found["sessions"][0]["operations"] == [{"rel": "delete", "href": id}]
    assert id not in stranger.get("session?all=true").text
    problem(stranger.delete(id), 403)
    problem(server.anonymous().get("session?all=true"), 403)
    assert id in {session["id"] for session in good(server.login().get("session?all=true"))["sessions"]}
    good(one.delete(id))
    assert good(other.get("session"))["count"] == 0
    assert good(one.get("session"))["count"] == 1


def test_log_out_revokes_the_cookie_itself(server: JobServer) -> None:
    caller = server.login()
    token = caller.http.cookies[COOKIE]
    id = good(caller.get("session"))["sessions"][0]["id"]
    answer = caller.delete(id)
    assert good(answer) == {"status": 200, "message": f"{id} deleted", "resource-id": id}
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    again = server.anonymous()
    again.http.cookies.set(COOKIE, token)
    problem(again.get("job"), 403)
    assert good(again.get("session"))["count"] == 0


def test_what_proxies_used_to_say_is_not_believed(server: JobServer) -> None:
    headers = {"slipstream-authn-info": "super ADMIN USER ANON"}
    problem(server.anonymous().get("job", headers=headers), 403)
    headers = {"nuvla-authn-info": "super ADMIN USER ANON", "Authorization": "Basic c3VwZXI6"}
    problem(server.anonymous().get("job", headers=headers), 403)


def test_a_forged_cookie_is_nobodys(server: JobServer) -> None:
    token = server.login().http.cookies[COOKIE]
    for forged in (token[:-2], token[:-1] + "!", "token=", "", "token=e30.x", "token=" + "a" * 5000):
        caller = server.anonymous()
        problem(caller.get("job", headers={"Cookie": f"{COOKIE}={forged}"}), 403)


# --- users


def test_the_life_of_a_user(server: JobServer, admin: Caller) -> None:
    body = {"username": "ann", "password": "first password", "name": "Ann"}
    answer = admin.post("user", body)
    assert answer.status_code == 201
    assert answer.headers["Location"] == "user/ann"
    assert answer.json() == {"status": 201, "message": "user/ann created", "resource-id": "user/ann"}
    conflict = problem(admin.post("user", body), 409)
    assert conflict == {"status": 409, "message": "conflict with user/ann", "resource-id": "user/ann"}

    ann = server.login("ann", "first password")
    shown = good(ann.get("user/ann"))
    assert (shown["username"], shown["roles"], shown["name"]) == ("ann", "USER", "Ann")
    assert "argon2" not in ann.get("user/ann").text
    assert not [name for name in shown if name.startswith("_")]
    assert [user["id"] for user in good(ann.get("user"))["users"]] == ["user/ann"]
    assert "argon2" not in admin.get("user").text

    problem(ann.put("user/ann", {"password": "second password"}), 403)
    problem(ann.put("user/ann", {"password": "second password", "oldPassword": "wrong"}), 403)
    problem(ann.put("user/ann", {"roles": "ADMIN USER"}), 403)
    assert good(ann.put("user/ann", {"description": "herself"}))["description"] == "herself"
    other = server.login("ann", "first password")
    assert (
        good(ann.put("user/ann", {"password": "second password", "oldPassword": "first password"}))["id"] == "user/ann"
    )
    for ended in (ann, other):
        problem(ended.get("user/ann"), 403)
    problem(server.anonymous().login("ann", "first password"), 403)
    ann = server.login("ann", "second password")

    good(admin.put("user/ann", {"password": "third password"}))
    problem(ann.get("job"), 403)
    ann = server.login("ann", "third password")
    assert good(admin.delete("user/ann")) == {"status": 200, "message": "user/ann deleted", "resource-id": "user/ann"}
    problem(ann.get("job"), 403)
    problem(server.anonymous().login("ann", "third password"), 403)
    problem(admin.get("user/ann"), 404)


def test_a_user_who_comes_back_does_not_find_his_old_session(server: JobServer, admin: Caller) -> None:
    body = {"username": "revenant", "password": "the same one"}
    admin.post("user", body)
    before = server.login("revenant", "the same one")
    admin.delete("user/revenant")
    admin.post("user", body)
    problem(before.get("job"), 403)
    admin.delete("user/revenant")


def test_roles_count_from_the_next_request_on(admin: Caller, user: Callable[[str], Caller]) -> None:
    caller = user("promoted")
    problem(caller.get("node"), 403)
    good(admin.put("user/promoted", {"roles": "ADMIN USER"}))
    good(caller.get("node"))
    good(admin.put("user/promoted", {"roles": "USER"}))
    problem(caller.get("node"), 403)


def test_users_keep_to_themselves(user: Callable[[str], Caller]) -> None:
    one = user("one")
    user("other")
    problem(one.get("user/other"), 403)
    problem(one.put("user/other", {"name": "x"}), 403)
    problem(one.delete("user/other"), 403)
    problem(one.post("user", {"username": "third", "password": "x"}), 403)
    assert good(one.get("user"))["count"] == 1


def test_a_user_that_does_not_fit(admin: Caller) -> None:
    problem(admin.post("user", {"username": "a/b", "password": "long enough"}), 400, "username")
    problem(admin.post("user", {"username": "ok", "password": "7 chars"}), 400, "password")
    problem(admin.post("user", {"username": "ok"}), 400, "password")
    problem(admin.post("user", {"username": "ok", "password": "long enough", "roles": "admin"}), 400, "roles")
    problem(admin.post("user", {"username": "ok", "password": "long enough", "nosuch": 1}), 400, "`nosuch`")
