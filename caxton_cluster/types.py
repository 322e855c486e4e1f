"""The nouns of membership: who a member is, where it is, and what is believed about it.

Values only, shared by the wire, the machine and the façade. Nothing here decides anything.

Reference: Das, Gupta, Motivala, "SWIM", DSN 2002; HashiCorp memberlist protocol 1 to 5.
"""

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Protocol, TypeVar

__all__ = [
    "INCARNATION_MAX",
    "META_SIZE_BYTES_MAX",
    "NAME_SIZE_BYTES_MAX",
    "Address",
    "Member",
    "MemberState",
    "Randomness",
    "Versions",
]

INCARNATION_MAX: Final = 2**32 - 2**16
"""Highest incarnation accepted from anyone. Whoever is there has none left to object with; first
incarnations stay far below (`swim.precedence`)."""

META_SIZE_BYTES_MAX: Final = 512
"""Longest metadata of a member; the wire's limit."""

NAME_SIZE_BYTES_MAX: Final = 255
"""Longest name of a member, in UTF-8."""

_V4_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
_PORT_MAX: Final = 65_535

_T = TypeVar("_T")


class Randomness(Protocol):
    """What the pure parts ask of chance; `random.Random` satisfies it."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Shuffle the list in place."""
        ...

    def sample(self, population: Sequence[_T], k: int) -> list[_T]:
        """Return `k` distinct elements."""
        ...

    def randrange(self, start: int, /) -> int:
        """Return an integer in [0, start)."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a member listens, on UDP and TCP alike.

    Peers compare addresses byte by byte, so that an IPv4 address in its IPv6 form would be taken
    for another host: it is always four bytes here.

    Raises:
        ValueError: The address has neither 4 nor 16 bytes, or the port is out of range.
    """

    ip: bytes
    """Network byte order, 4 or 16 bytes."""
    port: int

    def __post_init__(self) -> None:
        size_bytes = len(self.ip)
        if size_bytes == 16 and self.ip.startswith(_V4_MAPPED_PREFIX):
            object.__setattr__(self, "ip", self.ip[12:])
        elif size_bytes not in {4, 16}:
            raise ValueError(f"an IP address has 4 or 16 bytes, not {size_bytes}")
        if not 0 <= self.port <= _PORT_MAX:
            raise ValueError(f"port {self.port} is outside 0..65535")

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """Return the address of a numeric `host` such as `10.0.0.7` or `fd00::7`.

        Raises:
            ValueError: `host` is a name or not an address at all.
        """
        return cls(ip_address(host.partition("%")[0]).packed, port)

    @property
    def host(self) -> str:
        """The address part as text, as a socket wants it."""
        return str(IPv4Address(self.ip) if len(self.ip) == 4 else IPv6Address(self.ip))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if len(self.ip) == 4 else f"[{self.host}]:{self.port}"


class MemberState(IntEnum):
    """What is believed of a member; the numbers are the wire's."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3

    @property
    def is_gone(self) -> bool:
        """Whether the member is held dead or has left."""
        return self >= MemberState.DEAD


@dataclass(frozen=True, slots=True)
class Versions:
    """The protocol versions a member understands (min, max) and speaks (current).

    The delegate is the application above memberlist: serf has its own range, plain memberlist
    has zeros.
    """

    protocol_min: int = 1
    protocol_max: int = 5
    protocol_current: int = 2
    delegate_min: int = 0
    delegate_max: int = 0
    delegate_current: int = 0

    def __bytes__(self) -> bytes:
        return bytes(
            (
                self.protocol_min,
                self.protocol_max,
                self.protocol_current,
                self.delegate_min,
                self.delegate_max,
                self.delegate_current,
            )
        )

    def accepts(self, other: "Versions") -> bool:
        """Return whether the two could share a ring without breaking its anti-entropy."""
        return (
            0 < other.protocol_min <= self.protocol_current <= other.protocol_max
            and self.protocol_min <= other.protocol_current <= self.protocol_max
            and other.delegate_min <= self.delegate_current <= other.delegate_max
            and self.delegate_min <= other.delegate_current <= self.delegate_max
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One row of the member table: the newest that is known of a name."""

    name: str
    address: Address
    incarnation: int
    """Raised by the member itself only, to overrule what others say of it."""
    state: MemberState = MemberState.ALIVE
    meta: bytes = b""
    """The application's own data; under serf, the encoded tags."""
    versions: Versions = Versions()
    changed_at: float = 0.0
    """When `state` last changed, on the machine's clock, in seconds."""
