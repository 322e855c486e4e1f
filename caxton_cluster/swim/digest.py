"""A few opaque bytes of the layer above, taken along wherever a message goes anyway.

A registry that replicates beside the ring wants to know, soon and for nothing, whether its peers
hold the same as it does. Its *digest* rides on every ack to somebody who reads digests, and on
every exchange of tables. What it means is the registry's business; here it has a length and
nothing else. Whoever pings a member hears its digest, so each member hears of each other once a
round of probes.

On an ack it follows a marker byte, where serf would put a coordinate. In an exchange of tables it
is signed with its owner's name and put *behind* the overlay's own state: serf stops reading at
the end of its map and never notices. The trailer is found from the end, by its own last bytes.

Pure bookkeeping. Nothing is promised to arrive; it comes again with the next ack.
"""

import struct
from collections.abc import Callable
from typing import Final

from caxton_cluster.errors import MetadataTooLarge
from caxton_cluster.swim.events import DigestHeard
from caxton_cluster.types import Member

__all__ = ["DIGEST_SIZE_BYTES_MAX", "Digests", "from_ack", "split_state"]

DIGEST_SIZE_BYTES_MAX: Final = 512
"""Longest digest: it shares the datagram of an ack with rumours."""

_ACK_MARK: Final = b"\xcd"
"""Serf's coordinates begin with 1, the number of their version."""

_TRAILER: Final = struct.Struct(">BH4s")
"""Length of the name, length of the digest, and what tells a trailer from anything else."""

_TRAILER_MARK: Final = b"\xcddg1"


class Digests:
    """Our digest, and the forms in which it travels.

    Args:
        own_name: Who signs it.
        is_reader: Whether a member can make sense of a digest on an ack. A serf agent cannot,
            and logs an error for each.
    """

    def __init__(self, own_name: str, is_reader: Callable[[Member], bool]) -> None:
        self._own_name = own_name.encode()
        self._is_reader = is_reader
        self._digest = b""

    def set(self, digest: bytes) -> None:
        """Say `digest` from now on; the empty one is not sent at all.

        Raises:
            MetadataTooLarge: It has more than 512 bytes.
        """
        if len(digest) > DIGEST_SIZE_BYTES_MAX:
            raise MetadataTooLarge("the digest", len(digest), DIGEST_SIZE_BYTES_MAX)
        self._digest = digest

    def ack_payload(self, asker: Member | None) -> bytes:
        """Return what rides on an ack to `asker`."""
        if not self._digest or asker is None or not self._is_reader(asker):
            return b""
        return _ACK_MARK + self._digest

    def sign(self, state: bytes) -> bytes:
        """Return `state`, with our digest behind it."""
        if not self._digest:
            return state
        name, digest = self._own_name, self._digest
        return state + name + digest + _TRAILER.pack(len(name), len(digest), _TRAILER_MARK)


def from_ack(name: str, payload: bytes) -> DigestHeard | None:
    """Return what an ack of `name` said, or None if that was no digest."""
    if payload[:1] != _ACK_MARK or len(payload) > DIGEST_SIZE_BYTES_MAX + 1:
        return None
    return DigestHeard(name, payload[1:])


def split_state(state: bytes) -> tuple[bytes, DigestHeard | None]:
    """Return the overlay's part of `state`, and the digest behind it if there is one."""
    end = len(state) - _TRAILER.size
    if end < 0 or not state.endswith(_TRAILER_MARK):
        return state, None
    name_size_bytes, digest_size_bytes, _ = _TRAILER.unpack_from(state, end)
    digest_at = end - digest_size_bytes
    name_at = digest_at - name_size_bytes
    if name_at < 0 or digest_size_bytes > DIGEST_SIZE_BYTES_MAX:
        return state, None
    try:
        name = state[name_at:digest_at].decode()
    except UnicodeDecodeError:
        return state, None
    return state[:name_at], DigestHeard(name, state[digest_at:end])
