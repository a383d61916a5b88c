"""Presence, inboxes and elections when other programs make and delete nodes."""

from __future__ import annotations

import json
import logging

import gevent
import pytest
from kazoo.client import KazooClient

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationError
from tests.contract.zookeeper.conftest import Member, Site
from tests.support.waiting import eventually
from tests.support.zookeeper import RawSession


def test_an_announcement_that_was_removed_by_hand_comes_back(member: Member, kazoo: KazooClient) -> None:
    member.announce("executors", {"slots": 1})
    kazoo.delete(f"/executors/{member.name}")
    eventually(lambda: member.members("executors") == {member.name: {"slots": 1}}, within=5)
    assert kazoo.get(f"/executors/{member.name}")[1].ephemeralOwner == member.identity


def test_a_name_that_another_has_taken_meanwhile_is_told_and_waited_for(
    site: Site, member: Member, kazoo: KazooClient, caplog: pytest.LogCaptureFixture
) -> None:
    short = site.member("same", timeout=1.0)
    short.announce("executors", {"slots": 1})
    kazoo.delete("/executors/same")
    kazoo.create("/executors/same", b"{}", ephemeral=True)
    with caplog.at_level(logging.ERROR):
        eventually(lambda: "same cannot be announced among the executors" in caplog.text, within=5)
    kazoo.delete("/executors/same")
    eventually(lambda: member.members("executors") == {"same": {"slots": 1}}, within=5)
    assert caplog.text.count("cannot be announced") == 1


def test_the_node_of_an_own_session_that_has_ended_is_waited_for_in_silence(
    site: Site, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that was away for a while ends a session later than the client."""
    short = site.member("same", timeout=1.0)
    short.announce("executors", {"slots": 1})
    client = short._ensemble.now().client
    known = client.identity, client._session_passwd
    client.disown()
    RawSession(site.ensemble.port, *known, timeout=3500).abandon()
    eventually(lambda: len(short.sessions) == 2)
    began = boottime()
    eventually(lambda: short._presence.owned() == {"/executors/same"}, within=6)
    assert boottime() - began > 1.5, "the old node stayed longer than GRACE for the node of another"
    assert "cannot be announced" not in caplog.text
    assert member.members("executors") == {"same": {"slots": 1}}


def test_what_a_member_says_of_itself_may_be_junk(member: Member, kazoo: KazooClient) -> None:
    kazoo.create("/executors/junk", b"\xff{")
    kazoo.create("/executors/list", b"[1]")
    kazoo.create("/executors/empty")
    member.announce("executors", {"slots": 1})
    assert member.members("executors") == {"junk": {}, "list": {}, "empty": {}, member.name: {"slots": 1}}


def test_a_leader_whose_node_was_removed_by_hand_leads_no_more(site: Site, member: Member, kazoo: KazooClient) -> None:
    leadership = member.lead("e")
    assert leadership is not None
    (node,) = kazoo.get_children("/election/e")
    kazoo.delete(f"/election/e/{node}")
    eventually(lambda: not leadership.held, within=5)
    assert site.member().lead("e", timeout=2) is not None


def test_a_candidate_whose_node_was_removed_by_hand_stands_again(member: Member, kazoo: KazooClient) -> None:
    first = kazoo.create("/election/e/0123__lock__", b"somebody", ephemeral=True, sequence=True, makepath=True)
    standing = gevent.spawn(member.lead, "e")
    eventually(lambda: len(kazoo.get_children("/election/e")) == 2)
    for node in kazoo.get_children("/election/e"):
        if not first.endswith(node):
            kazoo.delete(f"/election/e/{node}")
    kazoo.delete(first)
    assert standing.get(timeout=5).held
    assert member.leaders(["e"]) == {"e": member.name}


def test_other_nodes_in_an_election_stand_in_nobody_s_way(member: Member, kazoo: KazooClient) -> None:
    kazoo.ensure_path("/election/e/junk")
    kazoo.ensure_path("/election/e/0000__rlock__0000000000")
    assert member.leaders(["e"]) == {}
    assert member.lead("e", timeout=2) is not None


def test_a_note_that_is_none_is_an_error_in_words(member: Member, kazoo: KazooClient) -> None:
    kazoo.create("/distribution/e", b"no JSON")
    with pytest.raises(CoordinationError, match="/distribution/e: a JSON object expected"):
        member.load_note("e")
    member.save_note("e", {"tick": 1})
    assert member.load_note("e") == {"tick": 1}


def test_messages_are_json_nodes_with_a_sequence(member: Member, kazoo: KazooClient) -> None:
    member.send("somebody", {"stop": "job/ü"})
    assert kazoo.get_children("/inbox/somebody") == ["msg-0000000000"]
    data, stat = kazoo.get("/inbox/somebody/msg-0000000000")
    assert json.loads(data) == {"stop": "job/ü"}
    assert stat.ephemeralOwner == 0


def test_junk_in_an_inbox_is_logged_and_dropped(
    member: Member, kazoo: KazooClient, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[object] = []
    member.listen(got.append)
    folder = f"/inbox/{member.name}"
    eventually(lambda: kazoo.exists(folder))
    kazoo.create(f"{folder}/msg-", b"\xff no JSON", sequence=True)
    kazoo.create(f"{folder}/msg-", b"[1]", sequence=True)
    kazoo.create(f"{folder}/other", b"{}")
    member.send(member.name, {"n": 1})
    eventually(lambda: got == [{"n": 1}])
    eventually(lambda: kazoo.get_children(folder) == ["other"])
    assert caplog.text.count("could not be handled") == 2


def test_messages_go_on_in_order_when_their_sequence_wraps(member: Member, kazoo: KazooClient) -> None:
    kazoo.ensure_path(f"/inbox/{member.name}")
    for n, counter in enumerate([2147483646, 2147483647, -2147483648, -2147483647]):
        kazoo.create(f"/inbox/{member.name}/msg-{counter:010d}", json.dumps({"n": n}).encode())
    got: list[object] = []
    member.listen(got.append)
    eventually(lambda: len(got) == 4)
    assert got == [{"n": n} for n in range(4)]


def test_an_inbox_without_its_executor_is_deleted_when_it_is_old(
    site: Site, member: Member, kazoo: KazooClient
) -> None:
    member.listen(lambda message: None)
    living = site.member("living")
    living.announce("executors", {})
    for name in ("living", "dead", "also-dead"):
        member.send(name, {"n": 1})
    eventually(lambda: kazoo.exists(f"/inbox/{member.name}"))
    inbox, membership = member._inbox, member._ensemble.now()
    inbox.sweep(membership)
    assert sorted(kazoo.get_children("/inbox")) == sorted(["living", "dead", "also-dead", member.name])
    gevent.sleep(0.3)
    since = boottime()
    member.send("late", {"n": 1})
    inbox.sweep(membership, unused=0.2 + (boottime() - since))
    assert sorted(kazoo.get_children("/inbox")) == sorted(["living", "late", member.name])
