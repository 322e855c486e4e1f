"""The ring of nodes as the edges see it: who is there, and the keys that keep strangers out.

Membership tells who seems to be alive. It carries no messages between agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, Protocol

from caxton_node.telemetry.ring_metrics import RingSnapshot

__all__ = [
    "FINGERPRINT_LENGTH",
    "KeyOutcome",
    "MemberState",
    "Ring",
    "RingKey",
    "RingKeyChange",
    "RingKeyList",
    "RingKeys",
    "RingMember",
    "RingState",
    "fingerprint",
]

FINGERPRINT_LENGTH: Final = 16

MemberState = Literal["alive", "suspect", "dead", "left"]

RingState = Literal["alone", "joining", "joined", "left"]
"""`alone` knows of nobody and was told of nobody; `joining` looks for those it was told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingMember:
    """A node, as this one believes it to be."""

    name: str
    state: MemberState
    incarnation: int
    """Raised by the node itself only, to overrule what others say of it."""
    address: str
    tags: Mapping[str, str]
    is_self: bool
    round_trip_s: float | None
    """Of the last direct probe."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """An encryption key, without the key."""

    fingerprint: str
    is_in_use: bool
    """This node encrypts with it; the others only decrypt."""
    holder_count: int
    """Nodes that answered and hold it."""
    user_count: int
    """Nodes that answered and encrypt with it. Old agents of serf do not say."""


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """What became of a question about keys on each node that seems to be alive."""

    done: Sequence[str]
    failed: Mapping[str, str]
    """Why not, by node."""
    silent: Sequence[str]


@dataclass(frozen=True, slots=True)
class RingKeyList:
    """The keys of a ring, this node's first and the one that it uses at the head."""

    keys: Sequence[RingKey]
    outcome: KeyOutcome


@dataclass(frozen=True, slots=True)
class RingKeyChange:
    """A key that was changed."""

    fingerprint: str
    outcome: KeyOutcome


def fingerprint(key: bytes) -> str:
    """Return what tells keys apart and gives none away."""
    return sha256(key).hexdigest()[:FINGERPRINT_LENGTH]


class RingKeys(Protocol):
    """The encryption keys of all nodes of a ring. Each node keeps them over a restart."""

    async def list(self) -> RingKeyList:
        """Ask every node for its keys; there are none where nothing is encrypted."""
        ...

    async def install(self, key: bytes) -> RingKeyChange:
        """Let every node decrypt with one more key.

        Raises:
            Conflict: `state_conflict`: nothing is encrypted here, or there are too many keys.
        """
        ...

    async def use(self, fingerprint: str) -> RingKeyChange:
        """Let every node encrypt with a key that all of them hold.

        Raises:
            NotFound: `key_not_found`.
            Conflict: `state_conflict`: some node lacks the key, or did not say.
        """
        ...

    async def remove(self, fingerprint: str) -> RingKeyChange:
        """Let every node forget a key that none encrypts with.

        Raises:
            NotFound: `key_not_found`.
            Conflict: `state_conflict`: it is in use, or some node did not say.
        """
        ...


class Ring(Protocol):
    """This node's place in its ring."""

    @property
    def state(self) -> RingState:
        """Whether anybody was found."""
        ...

    @property
    def address(self) -> str:
        """Where the others reach this node."""
        ...

    @property
    def label(self) -> str:
        """The cluster's name; empty without one."""
        ...

    @property
    def local_health(self) -> int:
        """How much the node doubts itself: 0 is well, 7 the worst."""
        ...

    @property
    def datagrams_dropped_count(self) -> int:
        """Datagrams dropped because the node did not keep up."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What went wrong of late without stopping anything."""
        ...

    def snapshot(self) -> RingSnapshot:
        """Return what was counted by now."""
        ...

    def members(self) -> Sequence[RingMember]:
        """Return all nodes known, this one and those gone of late included, by name."""
        ...

    def announce_http(self, host: str, port: int) -> None:
        """Tell the ring where this node's API listens."""
        ...

    def announce_grpc(self, host: str, port: int) -> None:
        """Tell the ring where other nodes dial this one."""
        ...

    async def leave(self) -> bool:
        """Say goodbye. The node goes on alone until it joins again.

        Returns:
            Whether there was time to tell the others.
        """
        ...

    async def join(self, peers: Sequence[str]) -> str:
        """Join the ring of whichever of `peers` answers, also after leaving one.

        Args:
            peers: As `host:port`; without any, those of the settings.

        Returns:
            Who answered.

        Raises:
            Rejected: `invalid_request`: a peer is no address.
            Conflict: `state_conflict`: there is nobody to ask.
            Unavailable: `unreachable`: nobody answered in time.
        """
        ...

    @property
    def is_encrypted(self) -> bool:
        """Whether what the nodes say to each other is encrypted."""
        ...

    @property
    def keys(self) -> RingKeys:
        """The keys that encrypt it."""
        ...
