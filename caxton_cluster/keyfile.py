"""The key ring on disk, so that a member restarts with the keys its ring was rotated to.

The settings come first: what they say is what a new member begins with, and whoever changes them
means it. The file counts only while they say what they said when the keys were rotated; that they
did is told by a digest of their keys, which gives none of them away. Anything else is a conflict,
which the settings win and the operator is told of, by fingerprints.

A small JSON file for its owner's eyes only, replaced as a whole. One that cannot be used is no
reason not to start.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from caxton_cluster.errors import KeyRejected
from caxton_cluster.swim.secrecy import check_keys
from caxton_cluster.whole_file import replace_file

__all__ = ["KeyChoice", "KeyRecord", "choose_keys", "fingerprint", "read_keys", "write_keys"]

FILE_SIZE_BYTES_MAX: Final = 4096
"""Eight keys take a tenth of it."""

FINGERPRINT_LENGTH: Final = 16

_FORMAT: Final = 1
_OWNER_ONLY: Final = 0o600


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The keys of a ring after a rotation, and what the settings said at that time."""

    keys: tuple[bytes, ...]
    """The one in use first."""
    settings_digest: str
    """Of the keys in the settings: see `digest_of`."""

    @classmethod
    def of(cls, keys: Sequence[bytes], settings_keys: Sequence[bytes]) -> "KeyRecord":
        """Return the record of a ring that now has `keys`, and began with those of the settings."""
        return cls(tuple(keys), _digest_of(settings_keys))

    def __repr__(self) -> str:
        """Name the keys without giving them away."""
        return f"KeyRecord({', '.join(map(fingerprint, self.keys))})"


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """The keys to begin with, and what the operator should know about it, if anything."""

    keys: tuple[bytes, ...]
    problem: str | None = None


def choose_keys(settings_keys: Sequence[bytes], record: KeyRecord | None) -> KeyChoice:
    """Return which keys a member begins with that has these in its settings, and this on disk."""
    own = tuple(settings_keys)
    if record is None or record.keys == own:
        return KeyChoice(own)
    if not own:
        return KeyChoice(
            (),
            "the settings name no key, and this member's ring was rotated to "
            f"{_names(record.keys)}: it speaks plaintext, as the settings say",
        )
    if record.settings_digest == _digest_of(own):
        return KeyChoice(record.keys)
    return KeyChoice(
        own,
        f"the settings name the keys {_names(own)}, and this member's ring was rotated to "
        f"{_names(record.keys)}: those of the settings are used. If nobody answers, put the others "
        "into the settings",
    )


def fingerprint(key: bytes) -> str:
    """Return what tells keys apart and gives none away."""
    return sha256(key).hexdigest()[:FINGERPRINT_LENGTH]


def _names(keys: Sequence[bytes]) -> str:
    return ", ".join(map(fingerprint, keys))


def _digest_of(keys: Sequence[bytes]) -> str:
    # Of digests, so that the border between two keys counts.
    return sha256(b"".join(sha256(key).digest() for key in keys)).hexdigest()


def read_keys(path: Path) -> tuple[KeyRecord | None, str | None]:
    """Return what the file says and, if it could not be used, why. Never raises.

    Nothing of its content is in what is said of it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_SIZE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{path}: {error.strerror or error}"
    if len(text) > FILE_SIZE_BYTES_MAX:
        return None, f"{path} is larger than {FILE_SIZE_BYTES_MAX} bytes"
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            return None, f"{path} is of another format than {_FORMAT}, the one this release reads"
        keys = tuple(b64decode(key, validate=True) for key in content["keys"])
        check_keys(keys)
        return KeyRecord(keys, str(content["settings"])), None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, KeyRejected):
        return None, f"{path} cannot be used: it is no file of keys"


def write_keys(path: Path, record: KeyRecord) -> None:
    """Replace the file; only its owner may read it.

    Raises:
        OSError: The directory is not ours to write, or the disk is full.
    """
    content = {
        "format": _FORMAT,
        "settings": record.settings_digest,
        "keys": [b64encode(key).decode() for key in record.keys],
    }
    replace_file(path, json.dumps(content), mode=_OWNER_ONLY)
