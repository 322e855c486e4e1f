"""Carries membership's news to whoever follows the nodes: the links' directory and the fleet.

A member counts as a node when its tags tell the epoch of its process; serf agents in the same ring
do not. It can be dialled once its tags tell where.
"""

from caxton_cluster import Member, MemberState
from caxton_cluster.serf.tags import decode_tags
from caxton_cluster.swim.events import (
    DigestHeard,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from caxton_node.forwarding.fleet import NodeFleet
from caxton_node.forwarding.peers import Peer, PeerDirectory
from caxton_node.forwarding.registry_feed import RegistryFeed

__all__ = ["MembershipFeed", "epoch_of", "grpc_of"]


def epoch_of(member: Member) -> int | None:
    """Return the start of a node's process as its tags tell, or None for what is no node."""
    text = decode_tags(member.meta).get("epoch", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def grpc_of(member: Member) -> str | None:
    """Return where a node is dialled, or None when it has not told yet."""
    return decode_tags(member.meta).get("grpc") or None


class MembershipFeed:
    """Follows the events of a ring.

    Args:
        own: This node's name.
        peers: Whom the links dial.
        fleet: Follows who is alive.
        feed: Drives the registry.
    """

    def __init__(
        self, own: str, *, peers: PeerDirectory, fleet: NodeFleet, feed: RegistryFeed
    ) -> None:
        self._own = own
        self._peers = peers
        self._fleet = fleet
        self._feed = feed
        self._is_alone = False

    def go_alone(self) -> None:
        """Take all others for gone: this node has left them."""
        self._is_alone = True
        for node in self._fleet.nodes():
            if node.name != self._own:
                self._peers.lose(node.name)
                self._fleet.member_down(node.name, has_left=True)

    def come_back(self, members: tuple[Member, ...]) -> None:
        """Take in who is there after joining again."""
        self._is_alone = False
        self.catch_up(members)

    def follow(self, event: object) -> None:
        """Take in one event."""
        if self._is_alone:
            return
        match event:
            case MemberJoined(member) | MemberUpdated(member) | MemberRecovered(member):
                self._up(member)
            case MemberSuspected(member):
                if member.name != self._own:
                    self._fleet.member_suspect(member.name)
            case MemberFailed(member):
                self._down(member, has_left=False)
            case MemberLeft(member):
                self._down(member, has_left=True)
            case DigestHeard(name, digest):
                if digest:
                    self._feed.receive(name, digest)
            case _:
                pass

    def catch_up(self, members: tuple[Member, ...]) -> None:
        """Take in the whole table of members, after events were lost or before any came."""
        if self._is_alone:
            return
        for member in members:
            if member.state.is_gone:
                self._down(member, has_left=member.state is MemberState.LEFT)
            else:
                self._up(member)

    def _up(self, member: Member) -> None:
        epoch = epoch_of(member)
        if member.name == self._own or epoch is None:
            return
        self._fleet.member_up(member.name, epoch)
        address = grpc_of(member)
        if address is not None:
            self._peers.see(Peer(member.name, address, epoch))

    def _down(self, member: Member, *, has_left: bool) -> None:
        if member.name == self._own:
            return
        self._peers.lose(member.name)
        self._fleet.member_down(member.name, has_left=has_left)
