"""Writing a file so that a crash leaves the old one or the new one, and never a part.

The new bytes go to a temporary file beside the old one, reach the disk, and take its name in
one step; then the folder's entry reaches the disk. Blocking: call it in a thread.

Reference: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
"""

import os
from pathlib import Path
from typing import Final

__all__ = ["TEMPORARY_SUFFIX", "replace_file"]

TEMPORARY_SUFFIX: Final = ".partial"


def replace_file(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, durably. Its folder must exist.

    Only one writer at a time may write a path.

    Raises:
        OSError: The disk refused; the old file is as it was.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
