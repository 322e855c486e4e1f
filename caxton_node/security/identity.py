"""Who a certificate says its holder is.

An identity is one DNS name in the certificate's subject alternative names:

- `node-1.node.caxton.internal`: the node `node-1`;
- `billing.client.caxton.internal`: the client `billing`.

A DNS name and not a URI, because a TLS client can demand a DNS name before it says a word, with
every TLS library there is; a name of our own and not the host's, because a node keeps its name
when it moves. `.internal` is set aside for private use and never resolves in public (ICANN, 2024).

Node names tell upper case from lower and DNS does not, so an upper-case letter is written `_` and
the letter, and `_` itself `__`: two nodes never share a name.

Reference: RFC 5280, section 4.2.1.6; RFC 9525.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "DOMAIN",
    "SAN_PROPERTY",
    "Identity",
    "IdentityKind",
    "dns_name_of",
    "identity_in",
    "identity_of",
]

IdentityKind = Literal["node", "client"]

DOMAIN: Final = "caxton.internal"

NAME_LENGTH_MAX: Final = 64

SAN_PROPERTY: Final = "x509_subject_alternative_name"
"""Under which gRPC gives the names of a peer's certificate."""

_TLS_PROPERTY: Final = "transport_security_type"
_CERTIFICATE_PROPERTY: Final = "x509_pem_cert"

_KINDS: Final[tuple[IdentityKind, ...]] = ("node", "client")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, as far as the transport knows."""

    kind: IdentityKind | None
    """None: it presented no certificate, or one of ours without an identity."""
    name: str
    """Empty without a kind."""
    is_encrypted: bool
    """The call came by TLS."""
    is_certified: bool
    """It presented a certificate that an authority of ours signed."""

    @property
    def is_peer(self) -> bool:
        """Whether it may call as a node: it is one, or nobody has certificates here."""
        return self.kind == "node" or not self.is_encrypted

    @property
    def is_client(self) -> bool:
        """Whether it may call as a client does: a certificate that it presents is a client's."""
        return self.kind == "client" or not self.is_certified


def dns_name_of(kind: IdentityKind, name: str) -> str:
    """Return the name that the certificate of a node or client carries.

    Raises:
        ValueError: It is no name: empty, too long, or not of letters, digits and `. _ -`.
    """
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name[0].isalnum() or not name[-1].isalnum():
        raise ValueError("a name begins and ends with a letter or digit and has at most 64")
    if not all(one.isascii() and (one.isalnum() or one in "._-") for one in name):
        raise ValueError("a name is made of letters, digits and . _ -")
    written = "".join(f"_{one.lower()}" if one.isupper() or one == "_" else one for one in name)
    return f"{written}.{kind}.{DOMAIN}"


def identity_in(dns_name: str) -> tuple[IdentityKind, str] | None:
    """Return whose name it is, or None where it is no identity."""
    for kind in _KINDS:
        written = dns_name.removesuffix(f".{kind}.{DOMAIN}")
        if written == dns_name:
            continue
        name = _unescaped(written)
        try:
            # Only the one way of writing a name counts: no two certificates mean the same node.
            return (kind, name) if dns_name_of(kind, name) == dns_name else None
        except ValueError:
            return None
    return None


def _unescaped(written: str) -> str:
    name, is_escaped = "", False
    for one in written:
        if one == "_" and not is_escaped:
            is_escaped = True
            continue
        name += one.upper() if is_escaped else one
        is_escaped = False
    return name


def identity_of(properties: Mapping[str, Iterable[bytes]]) -> Identity:
    """Return who calls.

    Args:
        properties: What gRPC says of the connection (`auth_context`). It has verified the
            certificate by now; the names in it are the authority's word.
    """
    is_encrypted = b"ssl" in properties.get(_TLS_PROPERTY, ())
    is_certified = _CERTIFICATE_PROPERTY in properties
    found = set()
    for value in properties.get(SAN_PROPERTY, ()):
        try:
            identity = identity_in(value.decode("ascii"))
        except UnicodeDecodeError:
            continue
        if identity is not None:
            found.add(identity)
    # A certificate for two is a certificate for nobody: whoever holds it could be either.
    if len(found) != 1:
        return Identity(None, "", is_encrypted, is_certified)
    kind, name = found.pop()
    return Identity(kind, name, is_encrypted, is_certified)
