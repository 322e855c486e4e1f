"""Ed25519 signatures of guests: what is signed, and whether a signature is good.

The library is loaded when a signature is first looked at: most nodes ask for none.

Reference: RFC 8032; docs/reference/wasm-manifest.md, "Signatures".
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Literal, Protocol

from caxton_node.domain.wasm import WasmSettings
from caxton_node.wasm.errors import UnfitModule

__all__ = ["SignatureMode", "SigningKey", "check_signature", "sign", "signed_text"]

SignatureMode = Literal["off", "warn", "require"]


class SigningKey(Protocol):
    """An Ed25519 key that signs."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes."""
        ...


def signed_text(digest: str, name: str, version: str) -> bytes:
    """Return what a signature of a guest is over."""
    return f"caxton-wasm-v1\n{digest}\n{name}\n{version}\n".encode()


def sign(key: SigningKey, digest: str, name: str, version: str) -> str:
    """Return the signature of a guest, in base64."""
    return base64.b64encode(key.sign(signed_text(digest, name, version))).decode()


def check_signature(
    settings: WasmSettings,
    name: str,
    version: str,
    *,
    mode: SignatureMode,
    signers: Mapping[str, str],
) -> str | None:
    """Check who vouches for a guest.

    Args:
        settings: Digest, signature and signer.
        name: Of the guest, as its manifest says.
        version: Likewise.
        mode: What the operator asks for.
        signers: Public keys by name, in base64. One that was revoked is not among them.

    Returns:
        What to warn of; None when there is nothing.

    Raises:
        UnfitModule: `signature`: it is required and missing, or it is wrong.
    """
    if mode == "off":
        return None
    problem = _problem(settings, signed_text(settings.sha256, name, version), signers)
    if problem is None:
        return None
    # A wrong signature is refused also where none would do: somebody tampered.
    if mode == "require" or settings.signature:
        raise UnfitModule("signature", problem)
    return problem


def _problem(settings: WasmSettings, text: bytes, signers: Mapping[str, str]) -> str | None:
    if not settings.signature:
        return "it is not signed"
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - loaded when wanted
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - loaded when wanted
        Ed25519PublicKey,
    )

    public = signers.get(settings.signer)
    if public is None:
        return f"its signer {settings.signer!r} is not among the trusted ones"
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(settings.signature, validate=True), text)
    except (InvalidSignature, ValueError, binascii.Error):
        return f"the signature of {settings.signer!r} is not of this file, name and version"
    return None
