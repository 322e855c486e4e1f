"""What kind of data this is, and what a file of it would be called."""

import json
import mimetypes
from pathlib import PurePosixPath
from typing import Final

from caxton_node.tools.table import TABLE_MEDIA_TYPE

__all__ = ["INLINE_BYTES_MAX", "find_media_type", "inline_text", "is_text", "name_with_suffix"]

INLINE_BYTES_MAX: Final = 2_000
"""Text up to this size is shown to a model whole, beside its handle."""

_VAGUE: Final = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
_SUFFIXES: Final = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
    ".xml": "application/xml",
    ".html": "text/html",
}
_SUFFIX_OF: Final = {kind: suffix for suffix, kind in _SUFFIXES.items()}


def find_media_type(declared: str, name: str, data: bytes) -> str:
    """Return the media type: as declared, unless that says little and name or data say more."""
    declared = declared.partition(";")[0].strip().lower()
    if declared not in _VAGUE:
        return declared
    suffix = PurePosixPath(name.lower()).suffix
    # The system's own table differs from machine to machine; ours comes first.
    by_name = _SUFFIXES.get(suffix) or mimetypes.types_map.get(suffix)
    if by_name:
        return by_name
    if data[:1] in {b"{", b"["} and _is_json(data):
        return "application/json"
    if declared == "text/plain" or _is_utf8(data):
        return "text/plain"
    return "application/octet-stream"


def is_text(media_type: str) -> bool:
    """Whether data of this type can be read by a person."""
    return (
        media_type.startswith("text/")
        or media_type in {"application/json", "application/xml", TABLE_MEDIA_TYPE}
        or media_type.endswith(("+json", "+xml"))
    )


def inline_text(media_type: str, data: bytes, length_max: int = INLINE_BYTES_MAX) -> str | None:
    """Return the first characters of readable data, or None for what is no text."""
    if not is_text(media_type):
        return None
    # Four bytes are the most that a character takes.
    return data[: length_max * 4].decode("utf-8", "replace")[:length_max]


def name_with_suffix(name: str, media_type: str) -> str:
    """Return `name`, with the usual suffix of the media type if it has none."""
    name = name.replace("\x00", "").strip("/. ")[-100:] or "data"
    return name if PurePosixPath(name).suffix else name + _SUFFIX_OF.get(media_type, "")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in data
