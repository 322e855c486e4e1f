"""What members say to each other, one value a message.

The numbers are the first byte on the wire. Envelopes (compound, compress, encrypt, checksum,
label) are not messages: `packet` and `stream` put them on and take them off.

Reference: HashiCorp memberlist, net.go; protocol versions 1 to 5.
"""

from dataclasses import dataclass
from enum import IntEnum

from caxton_cluster.types import Address, MemberState, Versions

__all__ = [
    "Ack",
    "Alive",
    "Dead",
    "ErrorReply",
    "IndirectPing",
    "Kind",
    "Message",
    "Nack",
    "Ping",
    "PushPull",
    "Record",
    "Suspect",
    "User",
]


class Kind(IntEnum):
    """The first byte of every message and envelope."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    HAS_LABEL = 244


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by an `Ack` of the same sequence number."""

    sequence: int
    node: str = ""
    """Whom it is meant for; a member of another name stays silent. Empty means anyone."""
    source: Address | None = None
    """Where the answer goes; without it, to wherever the datagram came from."""
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Please ping `target` for me, and pass its answer on."""

    sequence: int
    target: Address
    node: str
    wants_nack: bool
    source: Address | None = None
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """I am here; or, from a helper: it is."""

    sequence: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Nack:
    """From a helper: I got your request, and the target has not answered me."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """`accuser` got no answer from `node`."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Alive:
    """`node` is up at `address`: a newcomer, a change of metadata, or a refutation."""

    incarnation: int
    node: str
    address: Address
    meta: bytes = b""
    versions: Versions | None = None
    """None when the sender gave none, which the machine refuses."""


@dataclass(frozen=True, slots=True)
class Dead:
    """`node` is gone. It left of its own will when it is its own accuser."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a member table inside a `PushPull`."""

    node: str
    address: Address
    incarnation: int
    state: MemberState
    meta: bytes = b""
    versions: Versions | None = None


@dataclass(frozen=True, slots=True)
class PushPull:
    """A whole member table, and the application's own state. Travels by TCP only."""

    records: tuple[Record, ...]
    is_join: bool = False
    user_state: bytes = b""


@dataclass(frozen=True, slots=True)
class User:
    """An opaque message of the application above."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """From a TCP server that could not read or serve the request."""

    text: str


Message = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | PushPull | User | ErrorReply
