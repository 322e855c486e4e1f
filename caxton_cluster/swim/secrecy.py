"""AES-GCM key ring: who holds one of these keys is a member, who does not hears noise.

The first key encrypts, every key decrypts, so that a new key can be installed everywhere, then
used, then the old one removed, without a moment in which two members cannot talk. There is no
identity of members and no protection against replay: incarnations bound what a replay can do.

A sealed blob is the version byte, a 12-byte nonce, the ciphertext and a 16-byte tag. Version 0
pads to AES blocks, version 1 does not; both are read, version 1 is written.

Reference: HashiCorp memberlist, security.go and keyring.go.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from caxton_cluster.errors import KeyRejected, MalformedPacket, NotForUs

__all__ = ["KEY_COUNT_MAX", "OVERHEAD_SIZE_BYTES", "KeyRing", "check_keys"]

KEY_COUNT_MAX: Final = 8
"""Most keys in a ring: each costs a decryption attempt on every foreign packet."""

OVERHEAD_SIZE_BYTES: Final = 1 + 12 + 16
"""What sealing adds to a packet in version 1."""

_KEY_SIZES_BYTES: Final = (16, 24, 32)
_NONCE_SIZE_BYTES: Final = 12
_TAG_SIZE_BYTES: Final = 16
_BLOCK_SIZE_BYTES: Final = 16


def check_keys(keys: Sequence[bytes]) -> None:
    """Let pass what a key ring can be made of.

    Raises:
        KeyRejected: No key, too many, or one of a wrong size.
    """
    if not keys:
        raise KeyRejected("a key ring needs at least one key")
    for key in keys:
        if len(key) not in _KEY_SIZES_BYTES:
            raise KeyRejected(f"a key has 16, 24 or 32 bytes, not {len(key)}")
    if len(set(keys)) > KEY_COUNT_MAX:
        raise KeyRejected(f"a key ring holds {KEY_COUNT_MAX} keys at most")


class KeyRing:
    """The keys of one cluster, the primary first.

    Args:
        keys: One to eight keys of 16, 24 or 32 bytes. The first one encrypts.
        random_bytes: Source of nonces. Real ones must come from the operating system: a nonce
            that repeats under one key gives the key away.

    Raises:
        KeyRejected: No key, too many, or one of a wrong size.
    """

    def __init__(self, keys: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        # Replaced, never changed: a thread may be reading a long stream with it.
        self._ciphers: dict[bytes, AESGCM] = {}
        self.replace(keys)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return tuple(self._ciphers)

    def replace(self, keys: Sequence[bytes]) -> None:
        """Hold `keys` and no others.

        Raises:
            KeyRejected: No key, too many, or one of a wrong size. Nothing was changed.
        """
        check_keys(keys)
        self._ciphers = {key: AESGCM(key) for key in keys}

    def install(self, key: bytes) -> None:
        """Add `key` for decryption; adding it twice changes nothing.

        Raises:
            KeyRejected: The size is wrong or the ring is full.
        """
        check_keys([key])
        if key in self._ciphers:
            return
        if len(self._ciphers) >= KEY_COUNT_MAX:
            raise KeyRejected(f"the ring holds {KEY_COUNT_MAX} keys already; remove one first")
        self._ciphers = {**self._ciphers, key: AESGCM(key)}

    def use(self, key: bytes) -> None:
        """Make an installed `key` the one that encrypts.

        Raises:
            KeyRejected: It is not installed.
        """
        if key not in self._ciphers:
            raise KeyRejected("this key is not installed")
        others = {other: cipher for other, cipher in self._ciphers.items() if other != key}
        self._ciphers = {key: self._ciphers[key], **others}

    def remove(self, key: bytes) -> None:
        """Forget `key`; forgetting an unknown one changes nothing.

        Raises:
            KeyRejected: It is the one that encrypts.
        """
        if key == self.keys[0]:
            raise KeyRejected("the key in use cannot be removed; use another one first")
        self._ciphers = {other: cipher for other, cipher in self._ciphers.items() if other != key}

    def seal(self, plaintext: bytes, associated: bytes, *, version: int = 1) -> bytes:
        """Return `plaintext` encrypted and bound to `associated`, with the primary key."""
        assert version in {0, 1}, "only two versions exist"
        if version == 0:
            padding = _BLOCK_SIZE_BYTES - len(plaintext) % _BLOCK_SIZE_BYTES
            plaintext += bytes((padding,)) * padding
        nonce = self._random_bytes(_NONCE_SIZE_BYTES)
        cipher = next(iter(self._ciphers.values()))
        return bytes((version,)) + nonce + cipher.encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Return the plaintext of `sealed`.

        Raises:
            MalformedPacket: It is too short, of an unknown version, or badly padded.
            NotForUs: No key of the ring opens it.
        """
        if len(sealed) < OVERHEAD_SIZE_BYTES:
            raise MalformedPacket("too short to be encrypted")
        version = sealed[0]
        if version not in {0, 1}:
            raise MalformedPacket(f"encryption version {version} is unknown")
        nonce = sealed[1 : 1 + _NONCE_SIZE_BYTES]
        ciphertext = sealed[1 + _NONCE_SIZE_BYTES :]
        for cipher in self._ciphers.values():
            try:
                plaintext = cipher.decrypt(nonce, ciphertext, associated)
            except InvalidTag:
                continue
            return _unpad(plaintext) if version == 0 else plaintext
        raise NotForUs("no key of the ring opens this packet")


def _unpad(padded: bytes) -> bytes:
    # The reference trusts the last byte; a garbage one, sealed by a faulty member, crashed it.
    padding = padded[-1] if padded else 0
    if not 1 <= padding <= _BLOCK_SIZE_BYTES or len(padded) < padding:
        raise MalformedPacket("the padding is not PKCS #7")
    return padded[:-padding]
