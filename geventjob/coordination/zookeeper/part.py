"""The parts of this process that work in a session, as the ensemble's keeper sees them."""

from __future__ import annotations

from geventjob.coordination.zookeeper.membership import Membership


class Part:
    """A part that works in a session and may own ephemeral nodes.

    The keeper's greenlet calls these methods. All but `owned` may send requests; none may block for long.
    """

    def owned(self) -> set[str]:
        """Return the paths of the ephemeral nodes that the part believes to own."""
        return set()

    def began(self, membership: Membership) -> None:
        """Begin to work in a new session, in which the part owns nothing yet."""

    def gone(self, membership: Membership, paths: set[str]) -> None:
        """Note that `paths`, owned when the server was asked, do not exist."""

    def found(self, membership: Membership, paths: set[str]) -> None:
        """Handle `paths`: nodes of the session, after a reconnection, that no part owns.

        Called while no other request of the process is under way.
        """

    def ended(self, membership: Membership) -> None:
        """Note the end of the session."""
