"""The ring of nodes as the edges see it: who is there, and the keys that keep strangers out.

Membership tells who seems to be alive. It carries no messages between agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, Protocol

__all__ = [
    "FINGERPRINT_LENGTH",
    "MemberState",
    "Ring",
    "RingKey",
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
    """It encrypts; the others only decrypt."""


def fingerprint(key: bytes) -> str:
    """Return what tells keys apart and gives none away."""
    return sha256(key).hexdigest()[:FINGERPRINT_LENGTH]


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
        """Say goodbye. The node goes on alone, and leaves once only.

        Returns:
            Whether there was time to tell the others.
        """
        ...

    def keys(self) -> Sequence[RingKey]:
        """Return the encryption keys, the one in use first; none where nothing is encrypted."""
        ...

    def install_key(self, key: bytes) -> RingKey:
        """Let messages be decrypted by one more key.

        Raises:
            Conflict: `state_conflict`: nothing is encrypted here, or there are too many keys.
        """
        ...

    def use_key(self, fingerprint: str) -> RingKey:
        """Encrypt with an installed key from now on.

        Raises:
            NotFound: `key_not_found`.
        """
        ...

    def remove_key(self, fingerprint: str) -> None:
        """Forget a key.

        Raises:
            NotFound: `key_not_found`.
            Conflict: `state_conflict`: it is in use.
        """
        ...
