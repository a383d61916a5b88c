"""Access: TLS, log-in, permissions, the root, and servers that are too old."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import make_digest_acl

from geventjob.coordination.base import CoordinationAway, CoordinationError
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper import Certificates, Ensemble, running
from tests.support.zookeeper_proxy import MULTI_READ, UNIMPLEMENTED, ZooKeeperProxy

SECRET = "s3cret-of-the-queue"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def fortress(certificates: Certificates) -> Iterator[Ensemble]:
    """Yield a server that demands certificates and a log-in."""
    with running(Ensemble(certificates=certificates, digest=True)) as ensemble:
        yield ensemble


@pytest.fixture
def inside(fortress: Ensemble) -> Iterator[Site]:
    made = Site(fortress)
    yield made
    made.close()


@pytest.fixture
def auth_file(tmp_path: Path) -> str:
    return written(tmp_path / "auth", f"engine:{SECRET}\n")


@pytest.fixture
def tls(certificates: Certificates) -> dict[str, str]:
    """Return the right files."""
    client = certificates.client
    return {"tls_ca": str(certificates.ca), "tls_cert": str(client), "tls_key": str(certificates.key(client))}


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def acls(client: KazooClient, path: str) -> dict[str, list[object]]:
    """Return path → permissions, for a node and all below it."""
    try:
        found = {path: client.get_acls(path)[0]}
        for name in client.get_children(path):
            found.update(acls(client, f"{path}/{name}"))
    except NoNodeError:  # a probe, a lock: gone meanwhile
        return {}
    return found


# --- with everything right


def test_all_works_over_tls_and_a_log_in(inside: Site, tls: dict[str, Any], auth_file: str) -> None:
    one, two = (inside.member(auth_file=auth_file, **tls) for _ in range(2))
    one.put([("job/a", 1), ("job/b", 1)])
    claims = two.take(1)
    assert jobs(claims) == ["job/a"]
    two.consume(claims)
    leadership = one.lead("e", timeout=5)
    assert two.leaders(["e"]) == {"e": one.name}
    two.announce("executors", {"slots": 1})
    assert one.members("executors") == {two.name: {"slots": 1}}
    assert one.stats().entries == 1
    assert leadership is not None
    assert leadership.held


def test_a_session_goes_on_over_a_new_tls_connection(inside: Site, tls: dict[str, Any], auth_file: str) -> None:
    """The log-in is repeated before anything else."""
    remote = inside.member("remote", auth_file=auth_file, **tls)
    remote.put([("job/a", 1)])
    claims = remote.take(1)
    session = remote.session
    client = remote._ensemble.now().client
    client.drop()
    eventually(lambda: not client.connected)
    remote.consume(claims)
    assert remote.stats().entries == 0
    assert remote.session is session


def test_every_node_is_for_this_user_alone(inside: Site, tls: dict[str, Any], auth_file: str) -> None:
    member = inside.member("somebody", auth_file=auth_file, root=f"{inside.root}/deep/er", **tls)
    member.put([("job/a", 1), ("job/b", 1)])
    member.take(1)
    member.lead("e")
    member.save_note("e", {"tick": 1})
    member.announce("executors", {})
    member.send("somebody", {})
    client = member._ensemble.now().client
    mine = make_digest_acl("engine", SECRET, all=True)
    found = acls(client, inside.root)
    assert len(found) > 18
    assert {path: list(permissions) for path, permissions in found.items() if permissions != [mine]} == {}


def test_a_stranger_is_refused_in_words_at_the_start(
    inside: Site, tls: dict[str, Any], auth_file: str, tmp_path: Path
) -> None:
    inside.member(auth_file=auth_file, **tls).put([("job/a", 1)])
    stranger = inside.unstarted(auth_file=written(tmp_path / "other", "engine:another"), **tls)
    with pytest.raises(CoordinationError, match=f"{inside.root}/job cannot be read: NoAuthError"):
        stranger.start()


def test_what_is_forbidden_later_is_refused_in_words(site: Site, member: Member, kazoo: KazooClient) -> None:
    (path,) = member.put([("job/a", 1)])
    for folder in ("job/entries", "job/taken", "distribution", "executors", "inbox", "election"):
        kazoo.set_acls(f"/{folder}", [make_digest_acl("somebody", "else", all=True)])
    for call in (
        lambda: member.put([("job/b", 1)]),
        lambda: member.remove([path]),
        lambda: member.stats(),
        lambda: member.save_note("e", {}),
        lambda: member.announce("executors", {}),
        lambda: member.members("executors"),
        lambda: member.send("somebody", {}),
        lambda: member.lead("e", timeout=1),
    ):
        with pytest.raises(CoordinationError, match="ZooKeeper refused: NoAuthError"):
            call()
    assert member.take(1, timeout=0.3) == []
    assert member.session is not None
    assert not member.session.over


def test_a_root_that_is_another_s_is_an_error_at_the_start(
    inside: Site, tls: dict[str, Any], auth_file: str, tmp_path: Path
) -> None:
    inside.member(auth_file=auth_file, **tls)
    stranger = inside.unstarted(
        "stranger", auth_file=written(tmp_path / "other", "engine:another"), root=f"{inside.root}/mine", **tls
    )
    with pytest.raises(CoordinationError, match=f"{inside.root}/mine cannot be created: NoAuthError"):
        stranger.start()


# --- with something wrong


def test_without_a_log_in_there_is_no_session(inside: Site, tls: dict[str, Any]) -> None:
    with pytest.raises(CoordinationAway, match="the server wants a log-in: zk-auth-file"):
        inside.unstarted(timeout=2.0, **tls).start()


WRONG = {
    "no TLS": "it serves no sessions now",
    "no certificate": "TLS failed|it serves no sessions now|reset",
    "a stranger's certificate": "TLS failed|it serves no sessions now|reset",
    "another authority": "its certificate is not accepted: ",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_without_the_right_files_there_is_no_session(
    inside: Site, tls: dict[str, Any], certificates: Certificates, auth_file: str, wrong: str
) -> None:
    if wrong == "no TLS":
        tls = {}
    elif wrong == "no certificate":
        tls = {"tls_ca": tls["tls_ca"]}
    elif wrong == "a stranger's certificate":
        stranger = certificates.stranger
        tls |= {"tls_cert": str(stranger), "tls_key": str(certificates.key(stranger))}
    else:
        tls |= {"tls_ca": str(certificates.folder / "strange-ca.pem")}
    with pytest.raises(CoordinationAway, match=f"no session with ZooKeeper at .*: ({WRONG[wrong]})"):
        inside.unstarted(timeout=1.0, auth_file=auth_file, **tls).start()


def test_a_server_of_another_name_is_not_believed(inside: Site, tls: dict[str, Any], auth_file: str) -> None:
    """`127.1` is the address 127.0.0.1, but not a name in the server's certificate."""
    for host in ("127.0.0.1", "localhost"):
        inside.member(hosts=f"{host}:{inside.ensemble.port}", auth_file=auth_file, **tls)
    with pytest.raises(CoordinationAway, match=r"its certificate is not accepted: .*127\.1"):
        inside.unstarted(timeout=1.0, hosts=f"127.1:{inside.ensemble.port}", auth_file=auth_file, **tls).start()


@pytest.mark.parametrize("text", ["", "engine", ":password", "engine:", "engine:pass\nword", "a:b\x00c", "\n"])
def test_a_bad_auth_file_is_named_and_not_shown(site: Site, tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "auth", text)
    with pytest.raises(CoordinationError) as caught:
        site.unstarted(auth_file=path).start()
    assert str(caught.value) == f"zk-auth-file: {path}: user:password on one line expected"


def test_an_auth_file_that_others_can_read_is_warned_of(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.member(auth_file=written(tmp_path / "well", f"engine:{SECRET}", mode=0o600))
    assert "can be read by other users" not in caplog.text
    path = written(tmp_path / "auth", f"engine:{SECRET}", mode=0o640)
    site.member(auth_file=path)
    assert f"zk-auth-file: {path} can be read by other users" in caplog.text


def test_the_password_is_in_no_log(site: Site, auth_file: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        way = site.proxy()
        member = site.member("member", hosts=way.hosts, auth_file=auth_file)
        member.put([("job/a", 1)])
        way.cut()
        member.take(1)
        site.expire(member)
        eventually(lambda: len(member.sessions) == 2)
        member.close()
    assert caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(member._ensemble._access)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tls_ca": "missing"}, "zk-tls-ca: {missing}: No such file or directory"),
        ({"tls_ca": "text"}, "zk-tls-ca: {text}: no usable PEM file"),
        ({"tls_cert": "text"}, "zk-tls-cert: {text}: no usable PEM file"),
        ({"tls_cert": "cert", "tls_key": "text"}, "zk-tls-key: {text}: no usable PEM file"),
        ({"tls_cert": "cert", "tls_key": "stranger"}, "zk-tls-key: {stranger}: no usable PEM file"),
        ({"tls_key": "key"}, "zk-tls-key: a key without its certificate, zk-tls-cert"),
        ({"tls_cert": "cert", "tls_key": "encrypted"}, "zk-tls-key: the key has a password; one without is expected"),
        ({"auth_file": "missing"}, "zk-auth-file: {missing}: No such file or directory"),
    ],
)
def test_files_that_are_no_good_are_named_at_the_start(
    site: Site, certificates: Certificates, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    paths: dict[str, Any] = {
        "missing": str(tmp_path / "missing"),
        "text": written(tmp_path / "text", "no PEM\n"),
        "cert": str(certificates.client),
        "key": str(certificates.key(certificates.client)),
        "stranger": str(certificates.key(certificates.stranger)),
        "encrypted": str(certificates.encrypted_key(certificates.client)),
    }
    with pytest.raises(CoordinationError) as caught:
        site.unstarted(**{option: paths[file] for option, file in files.items()}).start()
    assert str(caught.value) == message.format(**paths)


# --- the root, and old servers


def test_the_root_is_created_and_parts_the_world(site: Site) -> None:
    one = site.member("one", root=f"{site.root}/a/b")
    two = site.member("two", root=f"{site.root}/c")
    again = site.member("again", root=f"{site.root}/a/b/")
    one.put([("job/a", 1)])
    assert two.stats().entries == 0
    assert [claim.entry for claim in again.take(1)] == ["/job/entries/entry-001-0000000000"]
    assert two.members("executors") == {}


def test_without_a_root_all_lies_at_the_top(site: Site) -> None:
    member = site.member("top", root="")
    (path,) = member.put([("job/at-the-top", 1)])
    top = site.kazoo(hosts=site.ensemble.hosts)
    assert top.get(path)[0] == b"job/at-the-top"
    assert member.remove([path]) == [True]


def test_a_server_older_than_multi_read_is_refused_in_words(site: Site) -> None:
    """The server answers as 3.4 and 3.5 answer unknown requests."""
    old: ZooKeeperProxy = site.proxy()
    old.refused[MULTI_READ] = UNIMPLEMENTED
    with pytest.raises(CoordinationError, match=r"older than ZooKeeper 3\.6"):
        site.unstarted("late", hosts=old.hosts).start()


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_that_cannot_be_a_node_is_refused(site: Site, name: str) -> None:
    from geventjob.coordination.zookeeper import ZooKeeperCoordination

    with pytest.raises(ValueError, match="name"):
        ZooKeeperCoordination(site.ensemble.hosts, name)
