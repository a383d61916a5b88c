"""Notes under the name of an election: for a distributor, the tick that fired last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kazoo.exceptions import NodeExistsError, NoNodeError

from geventjob.coordination.base import CoordinationError
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import NOTES


def load(membership: Membership, election: str) -> dict[str, Any] | None:
    """See `Coordination.load_note`. Raises CoordinationError for a node that holds no JSON object."""
    _, (node,) = membership.ask_each([membership.nodes.sync(), membership.nodes.read([f"{NOTES}/{election}"])])
    if node is None:
        return None
    if isinstance(node, Exception):
        raise node
    try:
        note = json.loads(node[0] or b"")
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise CoordinationError(f"{NOTES}/{election}: a JSON object expected, not {node[0]!r:.200}")
    return note


def save(membership: Membership, election: str, note: Mapping[str, Any]) -> None:
    """See `Coordination.save_note`. Saving twice has the effect of saving once."""
    path, data = f"{NOTES}/{election}", json.dumps(note).encode()
    try:
        membership.ask(membership.nodes.write(path, data))
    except NoNodeError:
        try:
            membership.ask(membership.nodes.create(path, data))
        except NodeExistsError:  # by another process, or by a create of ours whose answer was lost
            membership.ask(membership.nodes.write(path, data))
