"""An executor like SlipStream's (docs/reference/cimi.md): kazoo's LockingQueue, own client, a thread for each job.

The only action is `noted` of tests/actions, which notes each step in a file. A process of its own: `python -m
tests.support.old_engine`. SIGTERM ends the main thread only: the process lives until each thread has had its next job.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.recipe.queue import LockingQueue
from slipstream.api import Api, ConnectionError, SlipStreamError

Document = dict[str, Any]
FINAL = ("SUCCESS", "FAILED")


class JobUpdateError(Exception):
    """An edit failed; the entry was given back."""


class Worker:
    """One of the threads."""

    def __init__(self, zookeeper: KazooClient, api: Any, notes: Path, stop: threading.Event) -> None:
        self._notes = notes
        self._stop = stop
        self._queue = LockingQueue(zookeeper, "/job")
        self._api = api

    def run(self) -> None:
        while not self._stop.is_set():
            id = self._queue.get().decode()
            self._note(id, "take")
            try:
                job = self._fetched(id)
                if job is not None:
                    self._process(job)
            except JobUpdateError:
                pass

    def _fetched(self, id: str) -> Document | None:
        """Return the job to run; consume an entry without a job or with a final job."""
        for _ in range(2):
            try:
                job: Document = self._api.cimi_get(id).json
            except SlipStreamError as error:
                if error.response.status_code != 404:
                    self._queue.release()
                    return None
                time.sleep(2)
            else:
                if job["state"] not in FINAL:
                    return job  # RUNNING too: it is run again
                break
        self._queue.consume()
        return None

    def _process(self, job: Document) -> None:
        self._edit(job, {"state": "RUNNING"})
        try:
            self._act(job)
        except JobUpdateError:
            raise
        except Exception as error:
            self._edit(job, {"state": "FAILED", "statusMessage": str(error)})
        else:
            self._edit(job, {"state": "SUCCESS"})

    def _act(self, job: Document) -> None:
        seconds = job["payload"]["seconds"] if "payload" in job else float(job["description"])
        self._note(job["id"], "begin")
        for step in range(int(seconds * 10)):
            self._edit(job, {"progress": step % 100})
            time.sleep(0.1)
        self._note(job["id"], "end")

    def _note(self, id: str, word: str) -> None:
        with self._notes.open("a") as file:
            file.write(f"{os.getpid()} {id} {word}\n")

    def _edit(self, job: Document, attributes: Document) -> None:
        """GET and PUT; the entry is consumed as soon as the answer shows a final state."""
        try:
            job.update(self._api.cimi_edit(job["id"], attributes).json)
        except (SlipStreamError, ConnectionError) as error:
            self._queue.release()
            raise JobUpdateError from error
        if job["state"] in FINAL:
            while not self._queue.consume():
                time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--ss-url", "--ss-user", "--ss-pass-file", "--zk-hosts", "--cookies", "--notes"):
        parser.add_argument(name, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    api = Api(endpoint=args.ss_url, insecure=True, cookie_file=args.cookies, reauthenticate=True)
    assert api.login_internal(args.ss_user, Path(args.ss_pass_file).read_text()).status_code == 201
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    zookeeper = KazooClient(args.zk_hosts, timeout=3)
    zookeeper.start()
    print(f"session {zookeeper.client_id[0]:#x}", file=sys.stderr, flush=True)
    stop = threading.Event()
    for _ in range(args.threads):
        threading.Thread(target=Worker(zookeeper, api, Path(args.notes), stop).run).start()
    signal.sigwait({signal.SIGTERM})
    stop.set()
    print("stopping", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
