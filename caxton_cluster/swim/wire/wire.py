"""One cluster's wire: the same label and keys for datagrams and streams."""

from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire.packet import PacketCodec
from caxton_cluster.swim.wire.stream import StreamCodec

__all__ = ["Wire"]


class Wire:
    """How the members of one cluster write and read.

    Args:
        label: The cluster's name, or empty.
        key_ring: Encrypts everything when given.
        compresses: Whether to squeeze what is sent; compressed data are always read.
    """

    def __init__(
        self, *, label: str = "", key_ring: KeyRing | None = None, compresses: bool = False
    ) -> None:
        self.key_ring = key_ring
        self.packets = PacketCodec(label=label, key_ring=key_ring, compresses=compresses)
        self.streams = StreamCodec(label=label, key_ring=key_ring, compresses=compresses)
