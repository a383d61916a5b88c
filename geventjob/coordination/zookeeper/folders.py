"""The folders that geventjob needs in ZooKeeper: made where they are missing, with the permissions of our log-in."""

from __future__ import annotations

from typing import Any

from kazoo.exceptions import NodeExistsError, UnimplementedError

from geventjob.coordination.base import CoordinationAway, CoordinationError
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import NOTES
from geventjob.coordination.zookeeper.refusal import refused
from geventjob.coordination.zookeeper.requests import MultiRead


def make_folders(membership: Membership) -> list[str]:
    """Make the missing folders, and check that the server has the requests that geventjob needs.

    Return the full paths of the folders that were made. Raises CoordinationError, and CoordinationAway for a failure
    that passes.
    """
    nodes = membership.nodes
    folders = nodes.folders()
    (there,) = membership.query([MultiRead(folders)])
    _check(there, "the nodes cannot be read")
    for path, found in zip(folders, there, strict=True):
        if path.startswith(f"{nodes.root}/"):  # nodes above the root may belong to others
            _check(found, f"{path} cannot be read")
    made = []
    missing = [path for path, found in zip(folders, there, strict=True) if found is None]
    if nodes.own:
        _log_in(membership, missing[0] if missing else f"{nodes.root}{NOTES}/geventjob")
    for path, answer in zip(missing, membership.query(map(nodes.folder, missing)), strict=True):
        if not isinstance(answer, NodeExistsError):
            _check(answer, f"{path} cannot be created")
            made.append(path)
    return made


def _log_in(membership: Membership, folder: str) -> None:
    """Give all nodes that are created from now on to our log-in alone, in the form that this server uses.

    The server chooses the digest of a password (`digestAlg`). A trial node of scheme `auth` beside `folder`, deleted
    at once, shows the digest. Nodes cannot keep the scheme `auth` itself: they would also admit everybody with the
    same client certificate.
    """
    create, permissions, delete = membership.nodes.trial(folder.rpartition("/")[0])
    made, found, _ = membership.query([create, permissions, delete])
    _check(made, f"{folder} cannot be created")
    _check(found, f"the permissions of {create.path} cannot be read")
    membership.nodes.acl = [acl for acl in found[0] if acl.id.scheme == "digest"]
    if not membership.nodes.acl:
        raise CoordinationError("zk-auth-file: the server does not know log-ins of the digest scheme")


def _check(answer: Any, what: str) -> None:
    """Raise the error of the contract if `answer` is an exception; `what` says in words what failed."""
    if isinstance(answer, UnimplementedError):
        raise CoordinationError("the server is older than ZooKeeper 3.6, the first that has what geventjob needs")
    if isinstance(answer, CoordinationAway):
        raise answer
    if isinstance(answer, Exception):
        raise refused(answer, what)
