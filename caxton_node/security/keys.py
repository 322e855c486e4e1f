"""Keys that are no certificates: for what the ring says, and for signatures."""

import base64
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["KeyPair", "make_ring_key", "make_signing_key"]

RING_KEY_BYTES: Final = 32
"""AES-256."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key that signs and the one that checks, as PEM."""

    private: bytes
    public: bytes


def make_ring_key() -> bytes:
    """Return a new key for `cluster.key_file`: AES-256, in base64, with a line end."""
    return base64.b64encode(secrets.token_bytes(RING_KEY_BYTES)) + b"\n"


def make_signing_key() -> KeyPair:
    """Return a new Ed25519 key pair. Reference: RFC 8032, RFC 8410."""
    key = Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
