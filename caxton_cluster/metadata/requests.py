"""Keys and writes of ours as etcd's messages."""

from typing import assert_never

from caxton_cluster.errors import MetadataRefused
from caxton_cluster.metadata.values import (
    Absent,
    Delete,
    Guard,
    Put,
    StillMade,
    Unchanged,
    Write,
    check_key,
    check_value,
)
from caxton_cluster.metadata.wire import etcd_pb2 as wire

__all__ = [
    "Keys",
    "compare",
    "delete_op",
    "get_op",
    "made_by",
    "predecessor_op",
    "put_op",
    "write_op",
]


class Keys:
    """Our keys under etcd's.

    Args:
        prefix: Ends with a slash.
    """

    def __init__(self, prefix: str) -> None:
        assert prefix.endswith("/"), "the settings have checked it"
        self._prefix = prefix.encode()

    def to_wire(self, key: str) -> bytes:
        """Return etcd's key.

        Raises:
            MetadataRefused: It cannot be one.
        """
        return self._prefix + check_key(key).encode(errors="surrogateescape")

    def from_wire(self, key: bytes) -> str:
        """Return our key, whatever bytes somebody else put there."""
        return key.removeprefix(self._prefix).decode(errors="surrogateescape")

    def folder(self, folder: str) -> tuple[bytes, bytes]:
        """Return the first key of a folder, and the first one behind it.

        Raises:
            MetadataRefused: It does not end with a slash, and is not empty.
        """
        if folder and not folder.endswith("/"):
            raise MetadataRefused(f"a folder ends with a slash: {folder!r}")
        first = self._prefix + folder.encode(errors="surrogateescape")
        # The last byte is a slash, so that the next higher one ends the range.
        return first, first[:-1] + bytes([first[-1] + 1])


def compare(guard: Guard, keys: Keys) -> wire.Compare:
    """Return a condition as etcd's."""
    match guard:
        case Absent(key):
            return made_by(keys.to_wire(key), 0)
        case StillMade(key, create_revision):
            return made_by(keys.to_wire(key), create_revision)
        case Unchanged(key, mod_revision):
            return wire.Compare(
                result=wire.Compare.EQUAL,
                target=wire.Compare.MOD,
                key=keys.to_wire(key),
                mod_revision=mod_revision,
            )
        case _:
            assert_never(guard)


def made_by(key: bytes, create_revision: int) -> wire.Compare:
    """Require that a key was made by this revision; 0 is of a key that is not there."""
    return wire.Compare(
        result=wire.Compare.EQUAL,
        target=wire.Compare.CREATE,
        key=key,
        create_revision=create_revision,
    )


def write_op(write: Write, keys: Keys) -> wire.RequestOp:
    """Return a write as etcd's."""
    match write:
        case Put(key, value, lease_id):
            return put_op(keys.to_wire(key), check_value(value), lease_id)
        case Delete(key):
            return delete_op(keys.to_wire(key))
        case _:
            assert_never(write)


def put_op(key: bytes, value: bytes, lease_id: int) -> wire.RequestOp:
    """Put a value."""
    return wire.RequestOp(request_put=wire.PutRequest(key=key, value=value, lease=lease_id))


def delete_op(key: bytes) -> wire.RequestOp:
    """Delete one key."""
    return wire.RequestOp(request_delete_range=wire.DeleteRangeRequest(key=key))


def get_op(key: bytes) -> wire.RequestOp:
    """Read one key."""
    return wire.RequestOp(request_range=wire.RangeRequest(key=key))


def predecessor_op(first: bytes, end: bytes, *, before_revision: int) -> wire.RequestOp:
    """Read the last key of a folder that was made before a revision."""
    return wire.RequestOp(
        request_range=wire.RangeRequest(
            key=first,
            range_end=end,
            limit=1,
            max_create_revision=before_revision - 1,
            sort_order=wire.RangeRequest.DESCEND,
            sort_target=wire.RangeRequest.CREATE,
        )
    )
