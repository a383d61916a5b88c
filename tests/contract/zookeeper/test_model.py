"""The model of ZooKeeper in `bench.simulate` answers and behaves like a real ZooKeeper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import pytest
from kazoo.protocol.serialization import CheckVersion, Create, Delete, Exists, GetChildren2, SetData, Transaction
from kazoo.protocol.states import ZnodeStat

from bench.simulation.model import Costs, Model, ModelClient
from geventjob.coordination.zookeeper import ZooKeeperCoordination, ensemble
from geventjob.coordination.zookeeper.client import ZooKeeperClient
from geventjob.coordination.zookeeper.requests import GetEphemerals, MultiRead
from tests.contract.zookeeper.conftest import Site
from tests.support.waiting import eventually

Kinds = Counter[str]


def plain(answer: Any) -> Any:
    """Return an answer without what no two servers have in common: numbers of changes, sessions and times."""
    if isinstance(answer, ZnodeStat):
        kept = answer.version, answer.cversion, bool(answer.ephemeralOwner), answer.dataLength, answer.numChildren
        return answer.mzxid > answer.czxid, *kept
    if isinstance(answer, Exception):
        return type(answer).__name__
    if isinstance(answer, (list, tuple)):
        found = [plain(part) for part in answer]
        return sorted(found) if all(isinstance(part, str) for part in found) else found
    return answer


def asked(root: str) -> list[Any]:
    """Return requests of all kinds, some of which are refused."""
    a, queue = f"{root}/a", f"{root}/queue"
    create = partial(Create, acl=[*_open()])
    return [
        create(a, b"1", flags=0),
        create(a, b"2", flags=0),
        create(f"{root}/no/parent", b"", flags=0),
        create(queue, b"", flags=0),
        *(create(f"{queue}/entry-{n}-", b"x", flags=2) for n in (5, 1)),
        Delete(f"{queue}/entry-5-0000000000", -1),
        create(f"{queue}/entry-5-", b"", flags=2),
        create(f"{queue}/mine", b"me", flags=1),
        Delete(queue, -1),
        SetData(a, b"33", -1),
        SetData(a, b"4", 0),
        SetData(f"{root}/missing", b"", -1),
        Exists(a, None),
        Exists(f"{root}/missing", None),
        Transaction([SetData(a, b"5", -1), create(f"{a}/taken", b"", flags=1), CheckVersion(queue, -1)]),
        Transaction([SetData(a, b"6", -1), create(f"{a}/taken", b"", flags=1), Delete(a, -1)]),
        Transaction([Delete(f"{a}/taken", -1), Delete(f"{queue}/missing", -1), Delete(f"{queue}/mine", -1)]),
        Transaction([CheckVersion(f"{root}/missing", -1)]),
        MultiRead([a, f"{root}/missing", f"{a}/taken", queue]),
        GetEphemerals(f"{root}/"),
        GetChildren2(queue, None),
        Delete(f"{a}/taken", 7),
        Delete(f"{a}/taken", -1),
        GetChildren2(a, None),
        GetChildren2(f"{root}/missing", None),
    ]


def _open() -> Any:
    from kazoo.security import OPEN_ACL_UNSAFE

    return OPEN_ACL_UNSAFE


def test_every_request_has_the_answer_of_a_real_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = site.member()
    monkeypatch.setattr(ensemble, "ZooKeeperClient", partial(ModelClient, Model(Costs(sync=0.0))))
    modelled = site.member()
    there, here = (
        [plain(answer) for answer in member._ensemble.now().ask_all(asked(site.root))] for member in (real, modelled)
    )
    assert here == there
    assert {"NodeExistsError", "NoNodeError", "NotEmptyError", "BadVersionError"} <= {str(one) for one in there}


def counting(client: Any, kinds: Kinds) -> Callable[..., Any]:
    """Return a factory of clients that count their requests by kind."""

    def make(access: Any) -> Any:
        made = client(access)
        send = made.send

        def counted(request: Any) -> Any:
            kinds[type(request).__name__] += 1
            return send(request)

        made.send = counted
        return made

    return make


def work(site: Site, kinds: Kinds) -> list[list[str]]:
    """Have three members take and consume 300 entries; return what each has taken."""
    putting = site.member()
    putting.put([(f"job/{n}", n % 3) for n in range(300)])
    members = [site.member() for _ in range(3)]
    taken: list[list[str]] = [[] for _ in members]

    def serve(member: ZooKeeperCoordination, mine: list[str]) -> None:
        while claims := member.take(20):
            mine += [claim.job for claim in claims]
            member.consume(claims)

    kinds.clear()
    serving = [gevent.spawn(serve, *each) for each in zip(members, taken, strict=True)]
    eventually(lambda: sum(map(len, taken)) >= 300)
    gevent.killall(serving)
    return taken


def test_a_fleet_over_the_model_sends_what_a_real_fleet_sends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[Kinds] = []
    model = Model(Costs())
    for client in (ZooKeeperClient, partial(ModelClient, model)):
        kinds = Kinds()
        monkeypatch.setattr(ensemble, "ZooKeeperClient", counting(client, kinds))
        taken = work(site, kinds)
        assert sorted(job for mine in taken for job in mine) == sorted(f"job/{n}" for n in range(300))
        assert min(map(len, taken)) > 30
        spent.append(kinds)
    real, modelled = spent
    for kind in ("Transaction", "MultiRead"):
        assert 1 / 3 < modelled[kind] / real[kind] < 3, (kind, spent)  # as the three meet, batches are whole or split
