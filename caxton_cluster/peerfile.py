"""The peer book on disk, so that a restarted member finds its ring without its seeds.

A small JSON file, replaced as a whole. A file that cannot be read is no reason not to start: it
counts for nothing, with its reason, and the seeds must do. The next write replaces it.
"""

import json
from pathlib import Path
from typing import Final

from caxton_cluster.swim.peerbook import PEERS_MAX
from caxton_cluster.types import Address
from caxton_cluster.whole_file import replace_file

__all__ = ["read_peers", "write_peers"]

FILE_SIZE_BYTES_MAX: Final = 1024 * 1024
_FORMAT: Final = 1
_EVERYBODY_READS: Final = 0o644

_DAMAGE: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,  # a port that is no finite number
    RecursionError,  # brackets within brackets
)
"""What comes of reading a file that anybody may have written anything into."""


def read_peers(path: Path) -> tuple[dict[str, Address], str | None]:
    """Return the peers in the file and, if it could not be used, why. Never raises."""
    try:
        if path.stat().st_size > FILE_SIZE_BYTES_MAX:
            return {}, f"{path} is larger than {FILE_SIZE_BYTES_MAX} bytes"
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT:
            return {}, f"{path} has format {content['format']}, this release reads {_FORMAT}"
        rows = list(content["peers"].items())[:PEERS_MAX]
        return {str(name): Address.of(host, int(port)) for name, (host, port) in rows}, None
    except FileNotFoundError:
        return {}, None
    except _DAMAGE as error:
        return {}, f"{path} cannot be used: {error}"


def write_peers(path: Path, peers: dict[str, Address]) -> None:
    """Replace the file.

    Raises:
        OSError: The directory is not ours to write, or the disk is full.
    """
    rows = {name: [address.host, address.port] for name, address in peers.items()}
    content = json.dumps({"format": _FORMAT, "peers": rows})
    replace_file(path, content, mode=_EVERYBODY_READS)
