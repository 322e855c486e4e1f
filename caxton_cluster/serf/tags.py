"""Tags: small key-value pairs in a member's metadata, as serf writes them.

A marker byte and a msgpack map of texts. Metadata without the marker is an ancient serf's role.
"""

from collections.abc import Mapping
from typing import Final

from caxton_cluster.errors import MalformedPacket, MetadataTooLarge
from caxton_cluster.swim.wire.packing import pack, unpack
from caxton_cluster.types import META_SIZE_BYTES_MAX

__all__ = ["decode_tags", "encode_tags"]

_MARKER: Final = b"\xff"


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Return `tags` as metadata.

    Raises:
        MetadataTooLarge: They take more than 512 bytes.
    """
    meta = _MARKER + pack({key.encode(): value.encode() for key, value in tags.items()})
    if len(meta) > META_SIZE_BYTES_MAX:
        raise MetadataTooLarge("the tags", len(meta), META_SIZE_BYTES_MAX)
    return meta


def decode_tags(meta: bytes) -> dict[str, str]:
    """Return the tags in a member's metadata; what is not tags reads as none or as a role."""
    if not meta:
        return {}
    if not meta.startswith(_MARKER):
        return {"role": meta.decode(errors="replace")}
    try:
        fields = unpack(meta[1:])
    except MalformedPacket:
        return {}
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in fields.items()
        if isinstance(key, bytes) and isinstance(value, bytes)
    }
