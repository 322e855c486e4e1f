"""What the machine tells the application, one value an event.

For one name the order is always: joined, then any number of updated, suspected and recovered,
then failed or left; then joined again or forgotten. A failed member may yet turn out to have left.
"""

from dataclasses import dataclass

from caxton_cluster.types import Address, Member

__all__ = [
    "DigestHeard",
    "Event",
    "LeaveFinished",
    "MemberFailed",
    "MemberForgotten",
    "MemberJoined",
    "MemberLeft",
    "MemberRecovered",
    "MemberSuspected",
    "MemberUpdated",
    "NameConflict",
    "RecordRefused",
    "SeedAnswered",
    "SeedSilent",
    "UserMessage",
    "UserState",
]


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member appeared, or came back after it was held dead or had left."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """A member changed its metadata or its address."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """Somebody got no answer from a member; it has until the suspicion ends to object."""

    member: Member
    accuser: str


@dataclass(frozen=True, slots=True)
class MemberRecovered:
    """A suspected member objected."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A member is held dead."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member said goodbye."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberForgotten:
    """A member has been gone for long, and is no longer in the table."""

    name: str


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Somebody uses the name of a member at another address; the known one stays."""

    known: Member
    claimed: Address


@dataclass(frozen=True, slots=True)
class RecordRefused:
    """A member was not let in, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SeedAnswered:
    """A push/pull that `join` asked for came back."""

    address: Address


@dataclass(frozen=True, slots=True)
class SeedSilent:
    """A push/pull that `join` asked for failed."""

    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A message of the application above, by rumour, datagram or stream."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class UserState:
    """The application's state from a push/pull."""

    payload: bytes
    is_join: bool
    """Whether it answers a join of ours: what it tells of happened before we came."""


@dataclass(frozen=True, slots=True)
class DigestHeard:
    """What a member's layer above holds, in its own short form; said again whenever heard."""

    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class LeaveFinished:
    """The news of our leaving went out, or time ran out first."""

    is_announced: bool


Event = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | MemberForgotten
    | NameConflict
    | RecordRefused
    | SeedAnswered
    | SeedSilent
    | UserMessage
    | UserState
    | DigestHeard
    | LeaveFinished
)
