"""Saying what is wrong with a data directory, and what helps: most first starts fail there."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from caxton_node.domain.errors import Unavailable

__all__ = ["using_data_dir"]

_ELSEWHERE: Final = "choose another folder with --data-dir (or node.data_dir in caxton.toml)"

_HINTS: Final[Mapping[int, str]] = {
    errno.EROFS: f"mount it so that it can be written, or {_ELSEWHERE}",
    errno.EACCES: f"give it to the user that runs the node, or {_ELSEWHERE}",
    errno.EPERM: f"give it to the user that runs the node, or {_ELSEWHERE}",
    errno.ENOSPC: f"free some space on its disk, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some space within your quota, or {_ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder should: move it away, or {_ELSEWHERE}",
    errno.ENOTDIR: f"a file stands where a folder should: move it away, or {_ELSEWHERE}",
    errno.EIO: "look after its disk; what it holds may be damaged",
}


@contextmanager
def using_data_dir(data_dir: Path) -> Iterator[None]:
    """Turn what the system says about a data directory into what a person can act upon.

    Raises:
        Unavailable: `storage_unavailable`.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "storage_unavailable",
            f"The data directory {data_dir} cannot be used: {error.strerror or error}",
            hint=_HINTS.get(error.errno or 0, _ELSEWHERE),
        ) from error
