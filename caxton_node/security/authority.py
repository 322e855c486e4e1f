"""A cluster's own certificate authority: makes it, and issues certificates for nodes and clients.

One level: the authority signs every certificate itself and nothing else does. Keys are P-256,
which every TLS library has and which costs a fifth of RSA in a handshake. Nothing here opens a
file or reads the clock.

Reference: RFC 5280 (profiles), CA/Browser Forum Baseline Requirements 7.1 (serial numbers).
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caxton_node.domain.errors import Rejected
from caxton_node.security.identity import DOMAIN, IdentityKind, dns_name_of, identity_in

__all__ = [
    "AUTHORITY_DAYS",
    "CERTIFICATE_DAYS",
    "CERTIFICATE_DAYS_MAX",
    "Authority",
    "Issued",
    "describe",
    "make_authority",
    "read_authority",
]

AUTHORITY_DAYS: Final = 3_650

CERTIFICATE_DAYS: Final = 365
"""Nodes read renewed files while they run, so that a year is a convenience and no need."""

CERTIFICATE_DAYS_MAX: Final = 825

BACKDATED: Final = timedelta(minutes=5)
"""A clock that is a little late takes a new certificate too."""

HOSTS_MAX: Final = 100

_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """Whoever signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(
        self,
        kind: IdentityKind,
        name: str,
        *,
        hosts: Sequence[str] = (),
        now: datetime,
        days: int = CERTIFICATE_DAYS,
    ) -> Issued:
        """Issue a certificate with a new key.

        Args:
            kind: A node's serves and calls; a client's only calls.
            name: Of the node or client.
            hosts: Names and addresses under which clients reach the node.
            now: With a time zone.
            days: How long it is valid; never longer than the authority.

        Raises:
            Rejected: `invalid_request`: the name, a host or the days are impossible.
        """
        names = _names(kind, name, hosts)
        if not 1 <= days <= CERTIFICATE_DAYS_MAX:
            raise Rejected(
                "invalid_request",
                f"A certificate is valid for 1 to {CERTIFICATE_DAYS_MAX} days, not {days}",
            )
        ends_at = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        if ends_at <= now:
            raise Rejected("invalid_request", "The authority has expired", hint="make a new one")
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind == "node":
            usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        certificate = (
            _builder(name, key.public_key(), now=now, ends_at=ends_at)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return Issued(_pem(certificate), _key_pem(key))

    def renew(self, certificate: bytes, *, now: datetime, days: int = CERTIFICATE_DAYS) -> Issued:
        """Issue a certificate again, for the same names, with a new key.

        Raises:
            Rejected: `invalid_request`: it is no certificate of this authority for a node or
                client.
        """
        old = _read_certificate(certificate)
        try:
            old.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            raise Rejected(
                "invalid_request", "The certificate was issued by another authority"
            ) from None
        identity, hosts = None, []
        for name in _names_in(old):
            found = identity_in(name)
            if found is None:
                hosts.append(name)
            else:
                identity = found
        if identity is None:
            raise Rejected("invalid_request", "The certificate names no node and no client")
        return self.issue(*identity, hosts=hosts, now=now, days=days)


def make_authority(name: str, *, now: datetime, days: int = AUTHORITY_DAYS) -> Issued:
    """Make a new authority.

    Args:
        name: Of the cluster, for people to read.
        now: With a time zone.
        days: How long it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(name, key.public_key(), now=now, ends_at=now + timedelta(days=days))
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issued(_pem(certificate), _key_pem(key))


def read_authority(certificate: bytes, key: bytes) -> Authority:
    """Return an authority from its files.

    Raises:
        Rejected: `invalid_request`: they hold none, or do not belong together.
    """
    read = _read_certificate(certificate)
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise Rejected("invalid_request", "The authority's key cannot be read") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise Rejected("invalid_request", "The authority's key is none of an elliptic curve")
    if not _is_authority(read):
        raise Rejected("invalid_request", "The certificate is none of an authority")
    if private.public_key() != read.public_key():
        raise Rejected("invalid_request", "The key is not that of the authority's certificate")
    return Authority(read, private)


def describe(certificate: bytes) -> dict[str, object]:
    """Return what people want to know of a certificate: names and times, as JSON.

    Raises:
        Rejected: `invalid_request`: it is none.
    """
    read = _read_certificate(certificate)
    return {
        "names": _names_in(read),
        "not_before": read.not_valid_before_utc.isoformat(),
        "not_after": read.not_valid_after_utc.isoformat(),
        "fingerprint": read.fingerprint(hashes.SHA256()).hex(),
    }


def _names(kind: IdentityKind, name: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    try:
        names: list[x509.GeneralName] = [x509.DNSName(dns_name_of(kind, name))]
    except ValueError as error:
        raise Rejected("invalid_request", f"{name[:80]!r} is no name: {error}") from None
    if len(hosts) > HOSTS_MAX:
        raise Rejected("invalid_request", f"A certificate names at most {HOSTS_MAX} hosts")
    return [*names, *map(_host_name, hosts)]


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # A name of ours would be an identity that nobody asked for.
    if not _HOST.fullmatch(host) or host.lower().rstrip(".").endswith(DOMAIN):
        raise Rejected("invalid_request", f"{host[:80]!r} is no host")
    return x509.DNSName(host)


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, *, now: datetime, ends_at: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends_at)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read_certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Rejected("invalid_request", "The file holds no certificate in PEM") from None


def _names_in(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = [str(one) for one in extension.value.get_values_for_type(x509.IPAddress)]
    return [*extension.value.get_values_for_type(x509.DNSName), *addresses]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
