"""A stand-in for SlipStream's job server, by the known facts (docs/reference/cimi.md), above all its oddities.

Jobs and sessions only, documents in an SQLite file, entries in a real ZooKeeper. Only the parser of filters comes from
our server. Its own process: `python -m tests.support.slipstream_server`; `SlipStreamServer` starts one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from tests.support.http_handler import HttpHandler
from tests.support.slipstream_rules import (
    Answered,
    Document,
    Form,
    aggregated,
    matches,
    now,
    ordered,
    selected,
    validate,
    window,
    words,
    written,
)

Reply = tuple[int, Document, Mapping[str, str]]

COOKIE = "com.sixsq.slipstream.cookie"
URIS = "http://sixsq.com/slipstream/1/"
STOP = "http://schemas.dmtf.org/cimi/2/action/stop"
PASSWORD = "for-tests-only"
USERS = {"super": "ADMIN USER ANON", "worker": "USER ANON"}
ADMIN_ALL = {"type": "ROLE", "principal": "ADMIN", "right": "ALL"}
JOBS_ACL = {
    "owner": {"principal": "ADMIN", "type": "ROLE"},
    "rules": [{"principal": "USER", "type": "ROLE", "right": "VIEW"}],
}


# --- who asks


@dataclass(frozen=True)
class Caller:
    """The user of a request, from the cookie; or anonymous."""

    username: str | None
    roles: frozenset[str]

    def needs(self, role: str) -> None:
        if role not in self.roles:
            raise Answered(403, "credentials required")

    def may(self, document: Document, *rights: str) -> bool:
        acl = document["acl"]
        return "ADMIN" in self.roles or any(
            self.named_by(rule) and (rule.get("right", "ALL") in (*rights, "ALL"))
            for rule in [acl["owner"], *acl["rules"]]
        )

    def sees(self, document: Document) -> bool:
        return any(self.named_by(rule) for rule in [document["acl"]["owner"], *document["acl"]["rules"]])

    def named_by(self, rule: Document) -> bool:
        return rule["principal"] == self.username if rule["type"] == "USER" else rule["principal"] in self.roles


class Tokens:
    """The content of cookies: signed, valid until its time whatever happens to the session."""

    def __init__(self, folder: Path, life: float) -> None:
        self._life = life
        key = folder / "key"
        if not key.exists():
            key.write_text(secrets.token_hex())
        self._key = key.read_bytes()

    def new(self, username: str, roles: str, session: str) -> tuple[str, datetime]:
        expiry = now() + timedelta(seconds=self._life)
        claims = {"username": username, "roles": roles, "session": session, "exp": expiry.timestamp()}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
        return f"{payload}.{self._signature(payload)}", expiry

    def caller(self, cookies: str) -> Caller:
        """Return the caller of a token; a bad or expired token means an anonymous caller."""
        found = re.search(rf"{re.escape(COOKIE)}=token=([^;.]+)\.([0-9a-f]+)", cookies)
        if found and hmac.compare_digest(found[2], self._signature(found[1])):
            claims = json.loads(base64.urlsafe_b64decode(found[1]))
            if claims["exp"] > time.time():
                return Caller(claims["username"], frozenset({*claims["roles"].split(), "ANON"}))
        return Caller(None, frozenset({"ANON"}))

    def _signature(self, payload: str) -> str:
        return hmac.new(self._key, payload.encode(), hashlib.sha256).hexdigest()


# --- documents


class Store:
    """Documents by id, which survive SIGKILL. Reads and writes are single: no lock spans both."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")  # tests kill the process, not the machine
        self._connection.execute("CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, body TEXT)")
        self._lock = threading.Lock()

    def get(self, id: str) -> Document:
        """Return the document. A missing document is 404 whether or not the caller may see it."""
        found = self._ask("SELECT body FROM documents WHERE id = ?", id)
        if not found:
            raise Answered(404, f"{id} not found", id)
        return dict(json.loads(found[0]))

    def put(self, document: Document) -> None:
        body = json.dumps(document)
        self._ask("INSERT INTO documents VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = ?2", document["id"], body)

    def delete(self, id: str) -> None:
        self._ask("DELETE FROM documents WHERE id = ?", id)

    def all(self, kind: str) -> Iterator[Document]:
        return map(json.loads, self._ask("SELECT body FROM documents WHERE id GLOB ? ORDER BY rowid", f"{kind}/*"))

    def _ask(self, statement: str, *values: str) -> list[str]:
        with self._lock:
            return [row[0] for row in self._connection.execute(statement, values).fetchall()]


class Resources:
    """The requests of the server, without HTTP."""

    def __init__(self, store: Store, tokens: Tokens, zookeeper: KazooClient, store_delay: float) -> None:
        self._store = store
        self._tokens = tokens
        self._zookeeper = zookeeper
        self._store_delay = store_delay

    def entry_point(self, host: str) -> Document:
        return {
            "id": "cloud-entry-point",
            "resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint",
            "created": "2019-04-01T09:00:00.000Z",
            "updated": "2019-04-01T09:00:00.000Z",
            "baseURI": f"http://{host}/api/",
            "acl": {"owner": ADMIN_ALL, "rules": [{"principal": "ANON", "type": "ROLE", "right": "VIEW"}]},
            "jobs": {"href": "job"},
            "sessions": {"href": "session"},
            "sessionTemplates": {"href": "session-template"},
        }

    # --- sessions

    def log_in(self, body: Document) -> tuple[Document, str]:
        """Return the answer and the cookie."""
        template = body.get("sessionTemplate", {})
        if template.get("href") != "session-template/internal":
            raise Answered(404, f"{template.get('href')} not found")
        username = template.get("username")
        if username not in USERS or template.get("password") != PASSWORD:
            raise Answered(403, f"invalid credentials for '{username}'", username)
        id = f"session/{uuid.uuid4()}"
        roles = f"{USERS[username]} {id}"
        token, expiry = self._tokens.new(username, roles, id)
        self._store.put(
            {
                "id": id,
                "resourceURI": f"{URIS}Session",
                "username": username,
                "roles": roles,
                "expiry": written(expiry),
                "acl": {"owner": {"principal": id, "type": "ROLE"}, "rules": [ADMIN_ALL]},
            }
        )
        expires = expiry.strftime("%a, %d %b %Y %H:%M:%S +0000")
        return self._added(id), f"{COOKIE}=token={token};Secure;Path=/;Expires={expires}"

    def sessions(self, caller: Caller) -> Document:
        """Return the caller's own session, whatever the search."""
        own = [document for document in self._store.all("session") if document["id"] in caller.roles]
        return {
            "count": len(own),
            "id": "session",
            "resourceURI": f"{URIS}SessionCollection",
            "operations": [{"rel": "add", "href": "session"}],
            "sessions": [self._shown_session(session) for session in own],
        }

    def session(self, caller: Caller, id: str) -> Document:
        session = self._store.get(id)
        if not caller.may(session, "VIEW"):
            raise Answered(403, "credentials required")
        return self._shown_session(session)

    def _shown_session(self, session: Document) -> Document:
        return session | {"operations": [{"rel": "delete", "href": session["id"]}]}

    # --- jobs

    def add(self, caller: Caller, body: Document) -> Document:
        """Add a job; its entry comes first, before the job is validated and stored."""
        caller.needs("ADMIN")
        id = f"job/{uuid.uuid4()}"
        path = self._queued(id, body.get("priority", 999))
        time.sleep(self._store_delay)
        given = {name: value for name, value in body.items() if name not in ("id", "resourceURI", "operations")}
        time_ = written(now())
        owner = {"principal": "ADMIN", "type": "ROLE"}
        job: Document = {"progress": 0, "acl": {"owner": owner, "rules": []}} | given
        job |= {"id": id, "resourceURI": f"{URIS}Job", "created": time_, "updated": time_, "state": "QUEUED"}
        job["properties"] = {"zookeeper-path": path}
        if "targetResource" in job:
            affected = job.get("affectedResources", [])
            job["affectedResources"] = [
                *affected,
                *([] if job["targetResource"] in affected else [job["targetResource"]]),
            ]
        if "statusMessage" in job:
            job["timeOfStatusChange"] = time_
        job["acl"] = with_admin(job["acl"])
        validate(job)
        self._store.put(job)
        return self._added(id)

    def _queued(self, id: str, priority: Any) -> str:
        try:
            name = f"/job/entries/entry-{priority:03d}-"
            return str(self._zookeeper.create_async(name, id.encode(), sequence=True).get(timeout=3))
        except (KazooException, KazooTimeoutError, ValueError, TypeError) as error:
            raise Answered(500, f"Unexpected exception thrown: {type(error).__name__}") from None

    def get(self, caller: Caller, id: str, form: Form) -> Document:
        job = self._store.get(id)
        if not caller.may(job, "VIEW", "MODIFY"):
            raise Answered(403, "credentials required")
        return self._shown(caller, job, selected(form))

    def edit(self, caller: Caller, id: str, body: Document, form: Form) -> Document:
        """Edit a job, whatever its state, and whoever wrote last."""
        job = self._modifiable(caller, id)
        for name in selected(form) or ():
            if name not in ("id", "created", "updated", "resourceURI", "acl"):
                job.pop(name, None)
        job |= body
        moment = now()
        job["updated"] = written(moment)
        if job.get("state") == "RUNNING":
            job.setdefault("started", written(moment))
        job.pop("priority", None)
        if "statusMessage" in job:
            job["timeOfStatusChange"] = written(moment)
        if job.get("state") in ("SUCCESS", "FAILED"):
            started = datetime.fromisoformat(job["started"].replace("Z", "+00:00")) if "started" in job else None
            job |= {"progress": 100, "duration": int((moment - started).total_seconds()) if started else None}
        job.pop("operations", None)
        validate(job)
        self._store.put(job | {"acl": with_admin(job["acl"])})
        return job

    def delete(self, caller: Caller, id: str) -> Document:
        self._modifiable(caller, id)
        self._store.delete(id)
        return {"status": 200, "message": f"{id} deleted", "resource-id": id}

    def stop(self, caller: Caller, id: str) -> Document:
        """Make a running job STOPPED at once, without a message. `updated` stays as before."""
        job = self._modifiable(caller, id)
        if job["state"] == "RUNNING":
            job["state"] = "STOPPED"
            self._store.put(job)
        return job

    def search(self, caller: Caller, form: Form) -> Document:
        caller.needs("USER")
        filters = [value for name, value in form if name == "$filter"]
        found = [job for job in self._store.all("job") if caller.sees(job)]
        for text in filters:
            found = [job for job in found if matches(job, text)]
        count = len(found)
        for name in reversed(words(form, "$orderby")):
            found = ordered(found, name)
        page = found[slice(*window(form))]
        answer = {
            "count": count,
            "id": "job",
            "resourceURI": f"{URIS}JobCollection",
            "acl": JOBS_ACL,
            "jobs": [self._shown(caller, job, selected(form)) for job in page],
        }
        if "ADMIN" in caller.roles:
            answer["operations"] = [{"rel": "add", "href": "job"}]
        if terms := [name for name in words(form, "$aggregation") if name.startswith("terms:")]:
            answer["aggregations"] = {name: aggregated(found, name) for name in terms}
        return answer

    def _modifiable(self, caller: Caller, id: str) -> Document:
        job = self._store.get(id)
        if not caller.may(job, "MODIFY"):
            raise Answered(403, "credentials required")
        return job

    def _shown(self, caller: Caller, job: Document, names: list[str] | None) -> Document:
        """Return the document with operations. Under `$select`, an id that is not named is missing, in hrefs too."""
        if names is not None and "*" not in names:
            tops = {name.partition(".")[0] for name in names} | {"acl", "resourceURI"}
            shown = {name: value for name, value in job.items() if name in tops}
        else:
            shown = dict(job)
        id = shown.get("id")
        operations: list[Document] = []
        if caller.may(job, "MODIFY"):
            operations += [{"rel": "edit", "href": id}, {"rel": "delete", "href": id}]
        return shown | {"operations": [*operations, {"rel": STOP, "href": f"{id or ''}/stop"}]}

    @staticmethod
    def _added(id: str) -> Document:
        return {"status": 201, "message": f"{id} created", "resource-id": id}


def with_admin(acl: Document) -> Document:
    rules = [rule for rule in acl["rules"] if rule != ADMIN_ALL]
    return {**acl, "rules": [*rules, ADMIN_ALL]}


# --- HTTP


class Handler(HttpHandler):
    """One connection."""

    resources: Resources
    tokens: Tokens

    def do(self) -> None:
        body = self.body()
        parts = urlsplit(self.path)
        try:
            self.say(*self.answer(parts.path, parse_qsl(parts.query, keep_blank_values=True), body))
        except Answered as answered:
            self.say(answered.status, answered.body)
        except Exception as error:
            self.say(500, {"status": 500, "message": f"Unexpected exception thrown: {error!r}"})

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do

    def answer(self, path: str, query: Form, body: bytes) -> Reply:
        if not re.match("/+api/", path):
            raise Answered(404, "unknown resource", path)
        kind, *rest = re.sub("^/+api/", "", path).split("/")
        caller = self.tokens.caller(self.headers.get("Cookie", ""))
        match [self.command, kind, *rest]:
            case ["GET", "cloud-entry-point"]:
                return 200, self.resources.entry_point(self.headers.get("Host", "localhost")), {}
            case ["POST", "session"]:
                answer, cookie = self.resources.log_in(self.credentials(body))
                return self.added(answer, {"Set-Cookie": cookie})
            case ["GET" | "PUT", "session"]:
                return 200, self.resources.sessions(caller), {}
            case ["GET", "session", id]:
                return 200, self.resources.session(caller, f"session/{id}"), {}
            case ["DELETE", "session", id]:
                gone = f"{COOKIE}=INVALID;Path=/;Max-Age=0;Expires={self.date_time_string()}"
                return 200, self.resources.delete(caller, f"session/{id}"), {"Set-Cookie": gone}
            case ["POST", "job"]:
                return self.added(self.resources.add(caller, self.json(body)), {})
            case ["GET" | "PUT", "job"]:
                return 200, self.resources.search(caller, query + self.form(body)), {}
            case ["GET", "job", id]:
                return 200, self.resources.get(caller, f"job/{id}", query), {}
            case ["PUT", "job", id]:
                return 200, self.resources.edit(caller, f"job/{id}", self.json(body), query), {}
            case ["DELETE", "job", id]:
                return 200, self.resources.delete(caller, f"job/{id}"), {}
            case [_, "job", id, "stop"]:
                return 200, self.resources.stop(caller, f"job/{id}"), {}
            case [method, "job", id, action]:
                raise Answered(404, f'undefined action ({method.lower()}, ["job" "{action}"]) for {path}', path)
        raise Answered(405, f"invalid method ({self.command.lower()}) for {path}", path)

    def added(self, answer: Document, headers: Mapping[str, str]) -> Reply:
        return 201, answer, {"Location": answer["resource-id"], **headers}

    def json(self, body: bytes) -> Document:
        try:
            return dict(json.loads(body or b"{}"))
        except ValueError:
            raise Answered(400, "Malformed JSON in request body.") from None

    def form(self, body: bytes) -> Form:
        return parse_qsl(body.decode(), keep_blank_values=True)

    def credentials(self, body: bytes) -> Document:
        if "json" in self.headers.get("Content-Type", ""):
            return self.json(body)
        return {"sessionTemplate": dict(self.form(body))}

    def say(self, status: int, document: Document, headers: Mapping[str, str] = {}) -> None:
        body = json.dumps(document, indent=2).encode()
        usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--zk-hosts", required=True)
    parser.add_argument("--zk-root", default="")
    parser.add_argument("--cookie-life", type=float, default=86_400)
    parser.add_argument("--store-delay", type=float, default=0)
    args = parser.parse_args()
    zookeeper = KazooClient(args.zk_hosts + args.zk_root, timeout=5)
    zookeeper.start()
    zookeeper.ensure_path("/job/entries")
    Handler.tokens = Tokens(args.folder, args.cookie_life)
    Handler.resources = Resources(Store(args.folder / "documents.db"), Handler.tokens, zookeeper, args.store_delay)
    Http(("127.0.0.1", args.port), Handler).serve_forever()


# --- the tests' side


class SlipStreamServer:
    """One process of the server, on a port and in a folder that outlive the process."""

    def __init__(self, folder: Path, port: int, zk_hosts: str, zk_root: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._command = ["--port", str(port), "--folder", str(folder), "--zk-hosts", zk_hosts, "--zk-root", zk_root]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Start the process (again) with other `--cookie-life` and `--store-delay`, in seconds."""
        with (self._folder / "slipstream.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.support.slipstream_server", *self._command, *arguments]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    main()
