"""A store: writes a second, CPU a job, and how long searches take. `python -m bench.store [jobs] [elasticsearch]`.

The CPU is that of the server, not of Elasticsearch beside it.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gevent

import geventjob.patch  # noqa: F401  (first of all)
from geventjob.clock import cimi_time, now
from geventjob.near_uuid import near_uuid
from geventjob.server.filter import parse
from geventjob.server.store.base import Insert, Query, Update
from geventjob.server.store.elasticsearch import ElasticsearchStore
from geventjob.server.store.sqlite import SqliteStore
from tests.support import elasticsearch

STATES = ["QUEUED"] * 2 + ["RUNNING"] + ["SUCCESS"] * 15 + ["FAILED"] * 2
SEARCHES: list[tuple[str, dict[str, Any]]] = [
    ("", {"last": 0}),
    ("", {}),
    ("state='QUEUED'", {"last": 0}),
    ("state='SUCCESS'", {"last": 0}),
    ("state='QUEUED'", {"last": 50}),
    ("(state='SUCCESS' or state='FAILED') and created<'now-7d'", {"last": 50}),
    ("action='action-3' and targetResource/href='cloud/77' and (state='QUEUED' or state='RUNNING')", {"last": 1}),
    ("state='RUNNING' and executor='host-3'", {"last": 50}),
    ("parentJob='job/17'", {}),
    ("created>'now-1h'", {"last": 50}),
    ("updated<'now-60m'", {"last": 50}),
    ("priority<100", {"last": 50}),
    ("statusMessage^='done'", {"last": 50}),
    ("affectedResources/href='cloud/77'", {"last": 50}),
    ("fulltext=='entry 0000000042'", {"last": 50}),
    ("", {"last": 50, "orderby": [("created", True)]}),
    ("state='SUCCESS'", {"last": 50, "orderby": [("created", True)]}),
    ("", {"last": 50, "orderby": [("priority", False)]}),
    ("", {"last": 0, "aggregations": [("terms", "state")]}),
    ("", {"last": 0, "aggregations": [("terms", "action"), ("avg", "duration")]}),
    ("state!='SUCCESS'", {"last": 50, "viewers": frozenset({"USER alice", "ROLE USER", "ROLE ANON"})}),
    ("", {"last": 50, "viewers": frozenset({"USER bob", "ROLE USER", "ROLE ANON"})}),
]


def job(n: Any) -> Any:
    moment = cimi_time(now())
    return {
        "id": f"job/{near_uuid()}",
        "resourceURI": "http://sixsq.com/slipstream/1/Job",
        "created": moment,
        "updated": moment,
        "acl": {
            "owner": {"principal": "ADMIN", "type": "ROLE"},
            "rules": [
                {"principal": "alice", "type": "USER", "right": "VIEW"},
                {"type": "ROLE", "principal": "ADMIN", "right": "ALL"},
            ],
        },
        "state": STATES[n % len(STATES)],
        "action": f"action-{n % 10}",
        "progress": 0,
        "priority": random.randrange(1000),
        "targetResource": {"href": f"cloud/{n % 1000}"},
        "affectedResources": [{"href": f"cloud/{n % 1000}"}],
        "properties": {"zookeeper-path": f"/job/entries/entry-999-{n:010d}"},
        "idempotencyKey": near_uuid(),
        "payload": {"n": n, "region": "eu-west"},
        **({"parentJob": f"job/{n // 10}"} if n % 10 == 0 else {}),
        **({"statusMessage": f"done in {n % 50} s"} if n % len(STATES) > 2 else {}),
    }


def run(edit: Any) -> Any:
    return lambda document: {**document, **edit, "updated": cimi_time(now())}


def report(title: Any, store: Any, lists: Any, callers: Any) -> None:
    """Let so many greenlets write these lists."""
    lists = list(lists)
    items = sum(map(len, lists))
    waiting = iter(lists)
    delays = []

    def write() -> None:
        for one in waiting:
            start = time.perf_counter()
            store.write(one)
            delays.append(time.perf_counter() - start)

    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    gevent.joinall([gevent.spawn(write) for _ in range(callers)])
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    delays.sort()
    print(
        f"{title:34} {items / took:8,.0f}/s  CPU {user / items * 1e6:5.1f} us user {system / items * 1e6:5.1f} system"
        f"  p50 {delays[len(delays) // 2] * 1e3:6.1f} ms  p99 {delays[int(len(delays) * 0.99)] * 1e3:6.1f} ms"
    )


def chunks(items: Any, size: Any) -> Iterator[Any]:
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


def made(name: Any, folder: Any) -> Any:
    if name == "elasticsearch":
        return ElasticsearchStore([elasticsearch.shared()], prefix="bench", commit=60)
    return SqliteStore(Path(folder) / "server.db")


def main(jobs: int = 100_000, name: str = "sqlite") -> None:
    jobs = int(jobs)
    with tempfile.TemporaryDirectory() as folder:
        store = made(name, folder)
        store.start()
        documents = [job(n) for n in range(jobs)]
        inserts = [Insert(document, document["idempotencyKey"]) for document in documents]
        report("insert 1 at a time, 1 caller", store, chunks(inserts[:500], 1), 1)
        report("insert 1 at a time, 32 callers", store, chunks(inserts[500:5000], 1), 32)
        report("insert 50 at a time, 16 callers", store, chunks(inserts[5000 : jobs // 2], 50), 16)
        report("insert 200 at a time, 16 callers", store, chunks(inserts[jobs // 2 :], 200), 16)
        ids = [document["id"] for document in documents]
        random.shuffle(ids)
        running = run({"state": "RUNNING", "executor": "host-1", "fence": 1, "attempts": 1})
        done = run({"state": "SUCCESS", "progress": 100, "statusMessage": "done in 3 s", "duration": 3})
        report("to RUNNING, 50 at a time, 16", store, chunks([Update(id, running) for id in ids[:10000]], 50), 16)
        report(
            "progress, 50 at a time, 16",
            store,
            chunks([Update(id, run({"progress": 7})) for id in ids[:10000]], 50),
            16,
        )
        report(
            "progress, 1 at a time, 32", store, chunks([Update(id, run({"progress": 8})) for id in ids[:4000]], 1), 32
        )
        report("to SUCCESS, 50 at a time, 16", store, chunks([Update(id, done) for id in ids[:10000]], 50), 16)
        start = time.perf_counter()
        for chunk in chunks(ids[:10000], 100):
            store.get(chunk)
        print(f"{'get 100 at a time':34} {10000 / (time.perf_counter() - start):8,.0f}/s")
        for text, more in SEARCHES:
            query = Query(parse(text) if text else None, **more)
            delays = []
            for _ in range(5):
                start = time.perf_counter()
                page = store.search("job", query)
                delays.append(time.perf_counter() - start)
            print(f"{sorted(delays)[2] * 1e3:8.1f} ms  {page.count:7,} found  {text or 'all':60} {more or ''}")
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, *sys.argv[2:])
