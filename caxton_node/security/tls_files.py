"""A node's certificate, its key and its authority, read again when their files change.

The three files change one after the other. What does not fit together yet is not used: what was
read before stays in force, and the next look decides again. A look is three `stat`s.
"""

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from caxton_node.domain.errors import CaxtonError, Rejected
from caxton_node.security.identity import identity_in
from caxton_node.security.secret_files import read_secret

__all__ = ["AUTHORITIES_MAX", "TlsFiles", "TlsMaterial", "read_material"]

AUTHORITIES_MAX: Final = 20
"""Certificates in the file of the authority. Two are needed to change from one to another."""

_log = logging.getLogger("caxton.security")

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What a TLS library needs, as PEM; checked to fit together."""

    authority: bytes
    """One or several certificates: whoever is signed by one of them is trusted."""
    certificate: bytes
    """The node's own, followed by intermediate ones if there are any."""
    key: bytes
    node: str
    """Whom the certificate names."""


class TlsFiles:
    """The three files. Safe to use from any thread: TLS libraries ask from their own.

    Args:
        authority: Path of the certificates that are trusted.
        certificate: Path of the node's certificate.
        key: Path of the node's key.
        node: The node's name, which the certificate must carry.

    Raises:
        Rejected: `invalid_settings`: they cannot be read or do not fit together.
    """

    def __init__(self, *, authority: Path, certificate: Path, key: Path, node: str) -> None:
        self._paths = (authority, certificate, key)
        self._node = node
        self._lock = threading.Lock()
        self._trouble = ""
        self._stamp = self._look()
        self._material = read_material(*map(read_secret, self._paths), node=node)

    @classmethod
    def of(
        cls, *, authority: Path | None, certificate: Path | None, key: Path | None, node: str
    ) -> "TlsFiles | None":
        """Return the files that settings name; None where they name none.

        Raises:
            Rejected: `invalid_settings`: some are named and some are not, or as above.
        """
        if authority is None and certificate is None and key is None:
            return None
        if authority is None or certificate is None or key is None:
            raise Rejected(
                "invalid_settings",
                "`security.ca_file`, `security.cert_file` and `security.key_file` go together",
                hint="set all three, or none",
            )
        return cls(authority=authority, certificate=certificate, key=key, node=node)

    def current(self) -> TlsMaterial:
        """Return what is in force: what the files say, or said when they last made sense."""
        with self._lock:
            try:
                stamp = self._look()
                if stamp != self._stamp:
                    # Noted first: files that make no sense are looked at once, not at every call.
                    self._stamp = stamp
                    contents = map(read_secret, self._paths)
                    self._material = read_material(*contents, node=self._node)
                    _log.info("certificates were read again")
                self._trouble = ""
            except (CaxtonError, OSError) as problem:
                # Once a trouble and not at every handshake: strangers decide how many there are.
                if str(problem) != self._trouble:
                    self._trouble = str(problem)
                    _log.error("certificates were not read again, the old ones stay: %s", problem)
            return self._material

    def ends_at_s(self) -> float:
        """Return when the certificate in force ends, in seconds since 1970, UTC."""
        own = x509.load_pem_x509_certificates(self.current().certificate)[0]
        return own.not_valid_after_utc.timestamp()

    def _look(self) -> _Stamp:
        try:
            found = [os.stat(path) for path in self._paths]
        except OSError as error:
            raise Rejected(
                "invalid_settings", f"{error.filename}: {error.strerror or error}"
            ) from None
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def read_material(authority: bytes, certificate: bytes, key: bytes, *, node: str) -> TlsMaterial:
    """Check that a node's files fit together and are its own.

    Whether they are valid at this hour is for the other side to judge, by its own clock.

    Raises:
        Rejected: `invalid_settings`.
    """
    try:
        trusted = x509.load_pem_x509_certificates(authority)
    except ValueError:
        raise Rejected(
            "invalid_settings", "`security.ca_file` holds no certificate in PEM"
        ) from None
    if len(trusted) > AUTHORITIES_MAX:
        raise Rejected(
            "invalid_settings", f"`security.ca_file` holds more than {AUTHORITIES_MAX} certificates"
        )
    try:
        own = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError:
        raise Rejected(
            "invalid_settings", "`security.cert_file` holds no certificate in PEM"
        ) from None
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise Rejected("invalid_settings", "`security.key_file` holds no key in PEM") from None
    if private.public_key() != own.public_key():
        raise Rejected(
            "invalid_settings", "`security.key_file` is not the key of `security.cert_file`"
        )
    _check_name(own, node)
    return TlsMaterial(authority, certificate, key, node)


def _check_name(certificate: x509.Certificate, node: str) -> None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [identity_in(name) for name in names.get_values_for_type(x509.DNSName)]
    except (x509.ExtensionNotFound, ValueError):
        found = []
    identities = [identity for identity in found if identity is not None]
    if identities != [("node", node)]:
        others = ", ".join(f"the {kind} {name}" for kind, name in identities) or "nobody"
        raise Rejected(
            "invalid_settings",
            f"`security.cert_file` is for {others}, and this is the node {node}",
            hint=f"make one with: caxton security gen-cert --node {node}",
        )
