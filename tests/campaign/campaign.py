"""One campaign: start the system, let clients add while faults strike, put all right, and gather the evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geventjob import Client
from geventjob.cimi.errors import CimiError
from geventjob.cimi.patience import patiently
from geventjob.job.states import FINAL
from tests.campaign.check import EVERY
from tests.campaign.clients import KEYS, LIMIT, Clients, job_of_key
from tests.campaign.evidence import Evidence, gathered
from tests.campaign.faults import Faults
from tests.campaign.record import Recorder, read
from tests.campaign.schedule import Fault, Shape
from tests.campaign.system import System
from tests.support.fleet import until

SETTLE = 60.0
"""Seconds after the last fault within which all jobs must have ended."""
END = 30.0
"""Seconds after SIGTERM within which each process must have ended."""
ATTRIBUTES = [
    "action", "name", "state", "held", "payload", "output", "attempts", "interruptions", "retried", "statusMessage",
    "parentJob", "batch", "idempotencyKey", "executor",
]  # fmt: skip


class Campaign:
    """A campaign in a folder of its own, in which the record and all logs stay."""

    def __init__(self, folder: Path, shape: Shape, seed: int, *, pause: float = 0.8) -> None:
        """Make the processes, without starting any. `pause`: the longest time of a client between two adds, seconds."""
        self.shape = shape
        self.recorder = Recorder(folder / "record.jsonl")
        self.system = System(folder, shape, self.recorder)
        payload = {"record": str(self.recorder.path), "seconds": 1.0}
        self.faults = Faults(self.system, payload)
        self._clients = Clients(lambda: self.system.client(patience=10), self.recorder, seed, pause)

    def run(self, faults: list[Fault]) -> Evidence:
        """Run the campaign with these faults; return the evidence for the checker."""
        with self._watching_the_machine():
            self.system.start()
            client = self.system.client(patience=SETTLE)
            client.set_limit("accounts", "limited", per="payload.account", running=LIMIT)
            schedule = {"name": "scheduled", "every": EVERY, "action": "ticked", "payload": {}}
            patiently(lambda: client.add("schedule", schedule), SETTLE)
            self._clients.start()
            until(lambda: any(line["what"] == "begin" for line in read(self.recorder.path)), SETTLE)
            self.faults.run(faults)
            self._clients.stop()
            wrong = self._settle(client)
            wrong += self.system.stop(END, "distributor")  # no more ticks come
            wrong += self._settle(client)
        evidence = gathered(read(self.recorder.path), self.shape.session)
        try:
            self._ask_the_server(client, evidence)
            evidence.left += self._keys_left(client) + self._queue_left()
        except (CimiError, AssertionError) as error:
            wrong.append(f"the server does not answer at the end: {error}")
        evidence.processes += wrong + self._clients.errors + self.system.stop(END, "executor", "server")
        evidence.processes += self._outlived()
        evidence.left += self._nodes_left()
        return evidence

    def close(self) -> None:
        self.system.close()
        self.recorder.close()

    @contextmanager
    def _watching_the_machine(self) -> Iterator[None]:
        """Record how long a thread that only sleeps was kept waiting: the checker allows for as much."""
        over = threading.Event()

        def watch() -> None:
            last = time.monotonic()
            while not over.wait(0.05):
                late = time.monotonic() - last - 0.05
                if late > 0.2:
                    self.recorder.note("stall", seconds=late)
                last = time.monotonic()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # --- the end

    def _settle(self, client: Client) -> list[str]:
        """Wait until each process is announced and each job has ended; return in words which are not, in time."""
        deadline = time.monotonic() + SETTLE

        def settled() -> str:
            try:
                running = {part.name for part in self.system.parts.values() if not part.down}
                missing = running - {_plain(node["name"]) for node in client.nodes()}
                return f"not announced: {missing}" if missing else _unfinished(client)
            except CimiError as error:
                return str(error)

        while (left := settled()) and time.monotonic() < deadline:
            self.system.tend()
            time.sleep(0.2)
        return [f"{SETTLE:g} s after the last fault: {left}"] if left and "have not ended" not in left else []

    def _ask_the_server(self, client: Client, evidence: Evidence) -> None:
        """Read all jobs, and the logs of those that ran more often than once."""
        first = 1
        while jobs := client.search("job", first=first, last=first + 999, select=ATTRIBUTES, orderby="id")["jobs"]:
            evidence.jobs.update((job["id"], job) for job in jobs)
            first += 1000
        evidence.logs = {id: client.log(id) for id, runs in evidence.runs.items() if len(runs) > 1}

    def _keys_left(self, client: Client) -> list[str]:
        """Add a job with each key, which no job has any more; return the keys that are not free, in words."""
        answers = client.bulk_add([job_of_key(self.recorder.path, key) for key in KEYS])
        held = [f"{key} is not free: {answer}" for key, answer in zip(KEYS, answers, strict=True) if not _id(answer)]
        for id in filter(_id, answers):
            until(lambda id=id: client.get(str(id))["state"] in FINAL, SETTLE)
        return held

    def _queue_left(self) -> list[str]:
        """Wait until the queue is empty; return what is in it, where it does not get empty."""
        folders = ("/job/entries", "/job/taken", "/inbox")
        deadline = time.monotonic() + 15
        while (left := _messages(self.system.left_over(*folders))) and time.monotonic() < deadline:
            time.sleep(0.3)
        return left

    def _outlived(self) -> list[str]:
        deadline = time.monotonic() + 5
        while (left := self.system.outlived()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def _nodes_left(self) -> list[str]:
        """Return the nodes of processes that have all ended."""
        folders = ("/job/taken", "/takers", "/executors", "/distributors", "/servers", "/election")
        return [path for path in self.system.left_over(*folders) if not _is_folder(path)]


def _unfinished(client: Client) -> str:
    """Return in words how many jobs have not ended."""
    count = client.search("job", filter=" and ".join(f"state!='{state}'" for state in FINAL), last=0)["count"]
    return f"{count} jobs have not ended" if count else ""


def _plain(name: str) -> str:
    """Return the name of a process without the number that a name in use gets."""
    return "-".join(name.split("-")[:2])


def _id(answer: Any) -> bool:
    return isinstance(answer, str)


def _messages(paths: list[str]) -> list[str]:
    """Return the paths without those of inboxes that are empty."""
    return [path for path in paths if "/inbox/" not in path or "/msg-" in path]


def _is_folder(path: str) -> bool:
    """Return whether this is the folder of an election without candidates."""
    return "/election/" in path and path.count("/") == 3
