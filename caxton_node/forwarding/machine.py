"""A link as two nodes agree on it: who they are, and whether they go on or begin anew.

Both halves of the link, and the greeting. A stream may break and come again as often as it likes:
as long as both processes live, the numbering goes on. When the greetings show that either began
another life, both sides conclude the same from the same two greetings, and begin at 1.

Pure: the shell brings greetings and frames and takes frames away.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from caxton_node.forwarding.errors import LinkRefused
from caxton_node.forwarding.inflow import Inflow
from caxton_node.forwarding.outbox import Outbox, Parcel

__all__ = ["LINK_VERSION", "Hello", "LinkMachine", "Self"]

LINK_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """This node, as it introduces itself."""

    node: str
    epoch: int
    """Start of this process, as a number that only grows; never 0."""
    cluster: str
    """Name of the cluster. A node of another one is refused."""
    version: str
    """Of the program."""
    journal: int = 0
    """Identity of the journal, made with it; 0 where none is told."""


class Hello(msgspec.Struct, frozen=True):
    """What a node says first."""

    node: str
    epoch: int
    cluster: str
    link_version: int
    program_version: str
    peer_epoch: int
    """The life of the other node whose frames it has counted; 0 for none."""
    received_through: int
    """The frame of that life up to which it received everything."""
    journal: int = 0
    """Identity of its journal; 0 where it does not tell."""


class LinkMachine:
    """One link, on one of its two sides."""

    def __init__(self, me: Self, node: str) -> None:
        self._me = me
        self.node = node
        self.outbox = Outbox()
        self.inflow = Inflow()
        self.peer_epoch = 0
        """The life of the other node that the numbers are about; 0 before the first greeting."""
        self.peer_journal = 0
        """The journal of the other node when it was met last; 0 where that is not known."""
        self.is_forgetful = False
        """It came to the last greeting without the journal that it had before."""

    def hello(self) -> Hello:
        """Return this node's greeting for a new stream."""
        return Hello(
            node=self._me.node,
            epoch=self._me.epoch,
            cluster=self._me.cluster,
            link_version=LINK_VERSION,
            program_version=self._me.version,
            peer_epoch=self.peer_epoch,
            received_through=self.inflow.received_through,
            journal=self._me.journal,
        )

    def check(self, hello: Hello) -> None:
        """Let a greeting pass that a link with this node may begin with.

        Raises:
            LinkRefused: It is another node, cluster or version.
        """
        if hello.node != self.node:
            raise LinkRefused(f"{hello.node!r} answers where {self.node!r} is expected")
        if hello.cluster != self._me.cluster:
            raise LinkRefused(
                f"{hello.node!r} belongs to the cluster {hello.cluster!r}, "
                f"this node to {self._me.cluster!r}"
            )
        if hello.link_version != LINK_VERSION:
            raise LinkRefused(
                f"{hello.node!r} speaks version {hello.link_version} of the link, "
                f"this node {LINK_VERSION}"
            )

    def meet(self, hello: Hello) -> list[Parcel]:
        """Begin a stream: go on where the last one broke off, or begin anew.

        Returns:
            Where both begin anew: every message without an outcome, in order. Whoever calls
            sends them again, or elsewhere. Otherwise nothing.

        Raises:
            LinkRefused: It is another node, cluster or version.
        """
        self.check(hello)
        self.is_forgetful = bool(self.peer_journal) and hello.journal != self.peer_journal
        self.peer_journal = hello.journal
        is_same_life = hello.epoch == self.peer_epoch and hello.peer_epoch == self._me.epoch
        if is_same_life and self.outbox.can_resume(hello.received_through):
            self.outbox.resume(hello.received_through)
            return []
        if is_same_life:
            # It counted what was never sent: one of us is broken. The next greeting says so.
            self.miscounted()
            raise LinkRefused(f"{hello.node!r} received frames that were never sent")
        self.peer_epoch = hello.epoch
        self.inflow = Inflow()
        return self.outbox.begin_anew()

    def miscounted(self) -> None:
        """Take note that not all that was received was taken: the next greeting begins anew."""
        self.peer_epoch = 0

    @property
    def has_messages(self) -> bool:
        """Whether messages for the other node are here, sent or not."""
        return len(self.outbox) > 0

    def forget(self) -> list[Parcel]:
        """Give the other node up; return every message without an outcome, in order.

        Should it come back, both begin anew.
        """
        self.peer_epoch = 0
        return self.outbox.give_up()
