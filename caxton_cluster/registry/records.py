"""What nodes tell each other of their agents: records, deltas, digests, and their bytes.

A node in one life of its process is an `Owner`. It alone writes its records, and counts its
writes: every change of a record gets the next version. A `Delta` carries the changes between two
versions; a `Digest` says in a few bytes an owner how far somebody has come.

Bytes are msgpack with arrays for records: fields are told by their place, so new ones go to the
end, where older programs skip them. `decode` raises `MalformedPacket` and nothing else, whatever
the bytes, and never makes more of them than a small multiple.

Values of a delta are kept packed: whoever passes a record on passes it on unread, so that an
older program between two newer ones loses nothing.
"""

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from caxton_cluster.errors import MalformedPacket, RecordInvalid
from caxton_cluster.types import NAME_SIZE_BYTES_MAX

__all__ = [
    "AGENT_NAME_LENGTH_MAX",
    "CAPABILITIES_MAX",
    "CAPABILITY_LENGTH_MAX",
    "COUNT_MAX",
    "DESCRIPTION_LENGTH_MAX",
    "DIGEST_OWNERS_MAX",
    "FRAME_SIZE_BYTES_MAX",
    "LABELS_MAX",
    "LOAD_MAX",
    "RECORD_SIZE_BYTES_MAX",
    "RUNNING",
    "AgentRecord",
    "Delta",
    "Digest",
    "Entry",
    "Frame",
    "Owner",
    "OwnerDigest",
    "check_delta",
    "decode",
    "encode",
    "pack_record",
    "unpack_record",
    "version_key",
]

COUNT_MAX: Final = 2**63 - 1
"""Highest version and epoch: what a signed integer of 64 bits holds."""

AGENT_NAME_LENGTH_MAX: Final = 64
CAPABILITIES_MAX: Final = 64
CAPABILITY_LENGTH_MAX: Final = 100
LABELS_MAX: Final = 32
LABEL_LENGTH_MAX: Final = 100
"""Of a label's key and of its value."""
DESCRIPTION_LENGTH_MAX: Final = 200
"""Characters. The registry is an index: the whole description is in the definition."""
WORD_LENGTH_MAX: Final = 64
"""Characters of a kind, a state, a version, a tenant."""
DEFINITION_DIGEST_SIZE_BYTES: Final = 32
"""SHA-256."""
LOAD_MAX: Final = 7
"""The highest bucket of load; 0 is idle."""

RECORD_SIZE_BYTES_MAX: Final = 8 * 1024
"""Of one packed record. Usual are 150 bytes."""
FRAME_SIZE_BYTES_MAX: Final = 512 * 1024
"""Of one packed delta or digest: twice what a chunk is meant to have."""
DIGEST_OWNERS_MAX: Final = 4096
"""Lines of one digest."""

RUNNING: Final = "running"
"""The state in which an agent takes turns. All others rank below it."""

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_SIZE_BYTES_MAX)]
AgentName = Annotated[str, msgspec.Meta(min_length=1, max_length=AGENT_NAME_LENGTH_MAX)]
Word = Annotated[str, msgspec.Meta(max_length=WORD_LENGTH_MAX)]
CapabilityText = Annotated[str, msgspec.Meta(min_length=1, max_length=CAPABILITY_LENGTH_MAX)]
LabelText = Annotated[str, msgspec.Meta(max_length=LABEL_LENGTH_MAX)]
Packed = Annotated[bytes, msgspec.Meta(max_length=RECORD_SIZE_BYTES_MAX)]


class Owner(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """A node in one life of its process. A later epoch replaces all records of an earlier one."""

    node: NodeName
    """Name of the node, as membership knows it."""
    epoch: Count
    """Grows with every start of the process: a persisted counter, or the clock in ms."""


class AgentRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What everyone knows of an agent on one node."""

    agent: AgentName
    capabilities: Annotated[
        tuple[CapabilityText, ...], msgspec.Meta(min_length=1, max_length=CAPABILITIES_MAX)
    ]
    """As offered: `data-analysis.visual`, `translate:v2`."""
    agent_version: Word = "1.0.0"
    """Semantic version of the definition."""
    agent_epoch: Count = 0
    """Fencing: grows each time that the agent is started somewhere else."""
    state: Word = RUNNING
    load: Annotated[int, msgspec.Meta(ge=0, le=LOAD_MAX)] = 0
    """Bucket of load; see `load_bucket`."""
    kind: Word = ""
    """What runs when a message arrives: `llm`, `python`, `wasm`."""
    tenant: Word = ""
    """Workspace. Lookups see one tenant only; the empty one is everybody's default."""
    labels: Annotated[
        tuple[tuple[LabelText, LabelText], ...], msgspec.Meta(max_length=LABELS_MAX)
    ] = ()
    """Pairs of key and value."""
    definition_digest: Annotated[bytes, msgspec.Meta(max_length=DEFINITION_DIGEST_SIZE_BYTES)] = b""
    """SHA-256 of the definition, which is fetched on demand; empty when there is none."""
    description: Annotated[str, msgspec.Meta(max_length=DESCRIPTION_LENGTH_MAX)] = ""
    """One line for a person who chooses."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record, or that it is gone."""

    agent: AgentName
    version: Count
    """From the owner's one counter; the first write has 1."""
    value: Packed | None
    """The packed `AgentRecord`; None is a tombstone."""


class Delta(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Changes of one owner's records, those with versions in (`after`, `through`]."""

    owner: Owner
    after_version: Count
    """What the receiver must have reached; 0 for a whole new state."""
    through_version: Count
    """What the receiver has reached when it has applied this."""
    collected_version: Count
    """Tombstones up to here are forgotten: whoever is behind it must begin at 0."""
    entries: tuple[Entry, ...]
    """In order of version. Of several changes of a record the last is enough."""
    is_partial: bool = False
    """Whether others follow: who has applied this has not quite what the owner had at
    `through_version`, because what was changed later is in what follows, and there only."""


class OwnerDigest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far somebody has come with one owner's records."""

    owner: Owner
    version: Count
    """Highest version applied."""
    collected_version: Count
    """Highest version whose tombstones are forgotten."""
    record_count: Count
    """Tombstones not counted."""
    checksum: Annotated[int, msgspec.Meta(ge=0)]
    """Exclusive or of the 64-bit hashes of (agent, version) of all records."""


class Digest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """What a node has of the registry."""

    root: Annotated[int, msgspec.Meta(ge=0)]
    """Hash of the lines of all live owners, 64 bits. Equal roots: nothing to do."""
    is_whole: bool
    """Whether every owner has a line here. Otherwise they take turns."""
    owners: Annotated[tuple[OwnerDigest, ...], msgspec.Meta(max_length=DIGEST_OWNERS_MAX)]


Frame = Delta | Digest

_ENCODER: Final = msgspec.msgpack.Encoder()
_FRAMES: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)
_RECORDS: Final = msgspec.msgpack.Decoder(AgentRecord)
_MISFITS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""All that msgspec raises for bytes or values that do not fit."""


def encode(frame: Frame) -> bytes:
    """Return the bytes of a delta or a digest."""
    return _ENCODER.encode(frame)


def decode(data: bytes) -> Frame:
    """Return the delta or digest in `data`.

    Whether a delta makes sense in itself is checked where it is applied.

    Raises:
        MalformedPacket: `data` is neither, or longer than `FRAME_SIZE_BYTES_MAX`.
    """
    if len(data) > FRAME_SIZE_BYTES_MAX:
        raise MalformedPacket(f"a registry frame of {len(data)} bytes")
    try:
        return _FRAMES.decode(data)
    except _MISFITS as error:
        raise MalformedPacket(f"no registry frame: {error}") from None


def pack_record(record: AgentRecord) -> bytes:
    """Return the bytes of a record of our own.

    Raises:
        RecordInvalid: Peers would refuse it; the text says which field and why.
    """
    try:
        data = _ENCODER.encode(record)
        _RECORDS.decode(data)
    except (*_MISFITS, TypeError) as error:
        raise RecordInvalid(f"the record of agent {record.agent!r}: {error}") from None
    if len(data) > RECORD_SIZE_BYTES_MAX:
        raise RecordInvalid(
            f"the record of agent {record.agent!r} has {len(data)} bytes; "
            f"the limit is {RECORD_SIZE_BYTES_MAX}"
        )
    return data


def unpack_record(data: bytes) -> AgentRecord:
    """Return the record in `data`.

    Raises:
        MalformedPacket: It is none.
    """
    if len(data) > RECORD_SIZE_BYTES_MAX:
        raise MalformedPacket(f"a record of {len(data)} bytes")
    try:
        return _RECORDS.decode(data)
    except _MISFITS as error:
        raise MalformedPacket(f"no record: {error}") from None


def check_delta(delta: Delta) -> None:
    """Check that a delta makes sense in itself.

    Raises:
        MalformedPacket: Its versions run backwards or lie outside of what it claims to carry.
    """
    before = delta.after_version
    for entry in delta.entries:
        if entry.version <= before:
            raise MalformedPacket(f"version {entry.version} follows {before}")
        before = entry.version
    if before > delta.through_version:
        raise MalformedPacket(f"version {before} in a delta through {delta.through_version}")


@lru_cache(maxsize=4096)
def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts semantic versions; other texts sort somehow, but everywhere alike.

    A pre-release comes before its release, build data do not count (semver.org 2.0.0, item 11).
    """
    core, _, pre_release = text.partition("+")[0].partition("-")
    numbers = [_identifier_key(part) for part in core.split(".")]
    if not pre_release:
        return (*numbers, (3, 0, ""))
    # Lower than the mark of a release, and than any number that a longer core would have.
    return (*numbers, (0, 0, ""), *(_identifier_key(part) for part in pre_release.split(".")))


def _identifier_key(text: str) -> tuple[int, int, str]:
    # Numbers come before words. `isdecimal` alone would let other scripts' digits in.
    is_number = text.isascii() and text.isdecimal()
    return (1, int(text), "") if is_number else (2, 0, text)
