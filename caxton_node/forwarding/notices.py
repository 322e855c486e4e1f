"""What nodes say of themselves to each other, beside the registry of their agents.

A *notice* is what placement must know of a node: told when it changes, when a link opens, and
every so often, because any may be lost. A *wish* asks a node to take
agents over, a *removal* strikes a dead node off. They travel on the links next to the registry's
frames; the first byte tells which is which.
"""

from typing import Annotated, Final

import msgspec

from caxton_cluster.errors import MalformedPacket
from caxton_node.domain.placement import LABEL_COUNT_MAX
from caxton_node.runtime.placement import LOAD_MAX, NodeView

__all__ = [
    "HANDLER_COUNT_MAX",
    "REFUSED_COUNT_MAX",
    "Notice",
    "Removal",
    "Retired",
    "Said",
    "Wish",
    "pack_said",
    "unpack_said",
    "view_of",
]

HANDLER_COUNT_MAX: Final = 100
REFUSED_COUNT_MAX: Final = 1_000
"""Definitions that a node says it cannot run; more are forgotten, and tried again."""

SIZE_BYTES_MAX: Final = 256 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=256)]


class Notice(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What a node says of itself."""

    epoch: _Count
    """Start of its process."""
    labels: Annotated[dict[_Text, _Text], msgspec.Meta(max_length=LABEL_COUNT_MAX)]
    load: Annotated[int, msgspec.Meta(ge=0, le=LOAD_MAX)]
    is_draining: bool
    handlers: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=HANDLER_COUNT_MAX)]
    """Python classes, or patterns of them, that it allows."""
    refused: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=32)], ...],
        msgspec.Meta(max_length=REFUSED_COUNT_MAX),
    ]
    """Digests of definitions that it could not bring into force."""
    mode: _Text = ""
    """On which side of a partition it believes to be."""
    agent_count: _Count = 0
    store: _Text = ""
    """How etcd does, as it finds: `off`, `connected` or `degraded`; empty from earlier versions."""


class Wish(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Asks a node to take agents over from where they are."""

    agents: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=1_000)]


class Removal(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Tells that a dead node will not come back: it is expected no more."""

    node: _Text


class Retired(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Tells of agents that were deleted: no copy of that revision or a lower one is to run."""

    agents: Annotated[tuple[tuple[_Text, _Count], ...], msgspec.Meta(max_length=1_000)]
    """Name and revision."""


Said = Notice | Wish | Removal | Retired

_MARK: Final = b"\x00"
"""No frame of the registry begins so: those are msgpack arrays."""
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Said)


def pack_said(said: Said) -> bytes:
    """Return the bytes of what is said."""
    return _MARK + _ENCODER.encode(said)


def unpack_said(payload: bytes) -> Said | None:
    """Return what is said in `payload`; None when it is a frame of the registry.

    Raises:
        MalformedPacket: It is neither.
    """
    if not payload.startswith(_MARK):
        return None
    if len(payload) > SIZE_BYTES_MAX:
        raise MalformedPacket(f"something of {len(payload)} bytes")
    try:
        said: Said = _DECODER.decode(memoryview(payload)[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedPacket(f"nothing that nodes say: {error}") from None
    return said


def view_of(node: str, notice: Notice) -> NodeView:
    """Return what placement must know of a node."""
    return NodeView(
        name=node,
        labels=notice.labels,
        load=notice.load,
        is_draining=notice.is_draining,
        handlers=notice.handlers,
        refused=frozenset(digest.hex() for digest in notice.refused),
    )
