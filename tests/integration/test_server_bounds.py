"""The bounds on one request."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from select import select

from geventjob.cimi.document import COOKIE
from tests.support.job_server import Caller, JobServer, good, problem


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


def test_a_client_with_a_bearer_token_sends_large_bodies(server: JobServer, admin: Caller) -> None:
    admin.post("user", {"username": "carrier", "password": "long enough"})
    template = {"credentialTemplate": {"href": "credential-template/generate-api-key"}}
    key = server.login("carrier", "long enough").post("credential", template).json()
    token = f"{key['resource-id'].removeprefix('credential/')}.{key['secretKey']}"
    nobody = server.anonymous()
    body = b'{"edits": []}'.ljust(3 << 20)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    answer = nobody.post("job/bulk-edit", data=body, headers=headers)
    assert good(answer) == {"results": []}
    answer = nobody.post("job/bulk-edit", data=body, headers={**headers, "Authorization": f"Bearer {token}x"})
    problem(answer, 403)
    assert answer.headers["Connection"] == "close"


def test_large_bodies_of_one_caller_come_one_after_another(server: JobServer, admin: Caller) -> None:
    admin.post("user", {"username": "sender", "password": "long enough"})
    cookie = server.login("sender", "long enough").http.cookies.get(COOKIE)
    body = b'{"edits": []}'.ljust(300_000)
    head = f"POST /api/job/bulk-edit HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}={cookie}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with ExitStack() as stack:

        def asks() -> socket.socket:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            sock.sendall(head.encode())
            return sock

        first = asks()
        assert first.recv(100).startswith(b"HTTP/1.1 100 ")
        others = [asks() for _ in range(20)]
        refused: set[socket.socket] = set()
        while len(refused) < 4:  # 16 wait
            refused |= set(select([one for one in others if one not in refused], [], [], 20)[0])
        for one in refused:
            answer = one.recv(1000)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 2\r\n" in answer.lower()
        problem(admin.post("job/bulk-edit", {"edits": [], "x": "y" * 300_000}), 400, "x")
        first.sendall(body)
        waiting = [one for one in others if one not in refused]
        assert b" 200 " in first.recv(100)
        turn, *_ = select(waiting, [], [], 20)[0]
        assert turn.recv(100).startswith(b"HTTP/1.1 100 ")
        for one in waiting:
            one.close()
    again = server.login("sender", "long enough").post("job/bulk-edit", {"edits": [], "x": "y" * 300_000})
    problem(again, 400, "x")


def test_wide_searches_of_one_caller_leave_turns_to_others(server: JobServer, admin: Caller) -> None:
    admin.bulk("add", jobs=[{"action": "nothing", "payload": {"x": "y" * 2000}}] * 1000)
    admin.post("user", {"username": "reader", "password": "long enough", "roles": "VIEWER"})
    readers = [server.login("reader", "long enough") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda reader: [reader.get("job") for _ in range(4)], readers)
        assert good(admin.get("job"))["count"] >= 1000
        statuses = [answer.status_code for some in answers for answer in some]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 8
