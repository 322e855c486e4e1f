"""What a tool may connect to. Decided on values alone: an address, a name, a port.

A model chooses the addresses, and a page that it read may have told it which. So the public
internet is open; what is inside (loopback, private networks, carrier-grade NAT, unique local
addresses) opens only for hosts that the *node's operator* named; and what is never a web page
(link-local, cloud metadata, multicast, unspecified, reserved) stays shut whatever is configured.
An agent's own lists only narrow this.

Every spelling of an address that a C library would take for one, but that is not its canonical
form, is refused rather than decoded: no honest link says `http://0x7f.1/`.

Reference: OWASP SSRF Prevention Cheat Sheet; IANA special-purpose address registries (RFC 6890);
the WHATWG URL standard's "ends in a number" check.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yarl import URL

__all__ = [
    "AddressClass",
    "HostPattern",
    "NetworkRule",
    "UrlRefused",
    "check_url",
    "classify",
    "parse_host_pattern",
]

URL_LENGTH_MAX: Final = 4_096
HOST_LENGTH_MAX: Final = 253

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressClass(StrEnum):
    """Who may be reached at an address."""

    PUBLIC = "public"
    INSIDE = "inside"
    """Only where the operator named the host."""
    NEVER = "never"


class UrlRefused(Exception):
    """The address of a page may not be fetched. The text says why, for a model.

    Attributes:
        missing: What whoever asks is not allowed, where that is the reason.
    """

    def __init__(self, detail: str, *, missing: str | None = None) -> None:
        super().__init__(detail)
        self.missing = missing


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER: Final = _networks(
    "0.0.0.0/8",  # "this network"; 0.0.0.0 connects to loopback on Linux
    "169.254.0.0/16",  # link-local, with the metadata service of most clouds
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # wire server of Azure, an address that looks public
    "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is metadata of Oracle Cloud
    "192.88.99.0/24",  # 6to4 relays, deprecated
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, with limited broadcast
    "fd00:ec2::/32",  # metadata of Amazon
    "fd20:ce::254/128",  # metadata of Google
)
_INSIDE: Final = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.2.0/24",  # documentation, as the next three
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",
    "203.0.113.0/24",
    "::1/128",
    "fc00::/7",  # unique local
)
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NEVER_V6: Final = _networks(
    "2001::/23",  # IETF assignments: Teredo, ORCHID, benchmarks
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4, which carries an IPv4 address inside
    "3fff::/20",  # documentation
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
_NUMERIC_LABEL: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)


def classify(address: Address) -> AddressClass:
    """Return who may be reached at `address`, looking through IPv4 inside IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return classify(address.ipv4_mapped)
        if address in _NAT64:
            return classify(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.scope_id is not None:
            return AddressClass.NEVER
    # A network only ever contains addresses of its own family.
    if any(address in network for network in _NEVER):
        return AddressClass.NEVER
    if any(address in network for network in _INSIDE):
        return AddressClass.INSIDE
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_V6 or any(address in network for network in _NEVER_V6)
    ):
        return AddressClass.NEVER
    return AddressClass.PUBLIC


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host that somebody allowed, on one port or on all."""

    host: str
    """Lower case; an address in canonical form; `*.example.com` for all below."""
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        """Whether `host` and `port` are meant."""
        if self.port is not None and self.port != port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


def parse_host_pattern(text: str) -> HostPattern:
    """Read `host`, `host:port`, `*.host`, `[::1]` or `[::1]:port`.

    Raises:
        ValueError: It is none of these.
    """
    host, port_text = text.strip().lower(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not a host, nor a host and a port.")
        port_text = rest[1:]
    elif host.count(":") == 1:
        host, _, port_text = host.partition(":")
    if port_text and not (port_text.isascii() and port_text.isdigit()):
        raise ValueError(f"{text!r}: the port must be a number.")
    port = int(port_text) if port_text else None
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"{text!r}: a port lies between 1 and 65535.")
    address = _literal(host)
    if address is not None:
        return HostPattern(str(address), port)
    if not _HOST_NAME.fullmatch(host.removeprefix("*.")):
        raise ValueError(f"{text!r} is not a host, nor a host and a port.")
    return HostPattern(host, port)


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """Which hosts may be reached inside. The operator's word; the same for all agents."""

    allowed_private_hosts: tuple[HostPattern, ...] = ()

    def permits(self, address: Address, *, host: str, port: int) -> bool:
        """Whether a connection to `address`, found under the name `host`, may be made."""
        match classify(address):
            case AddressClass.PUBLIC:
                return True
            case AddressClass.INSIDE:
                return any(known.matches(host, port) for known in self.allowed_private_hosts)
            case AddressClass.NEVER:
                return False


def check_url(text: str, *, rule: NetworkRule, narrowed_to: Sequence[Iterable[HostPattern]]) -> URL:
    """Return the URL that `text` spells if it may be fetched as far as its text tells.

    A name must still be resolved; the resolver asks the rule again about every address.

    Args:
        text: As a model or a redirect spells it.
        rule: The node's.
        narrowed_to: Lists of hosts; each one that is not empty must have a match.

    Raises:
        UrlRefused: With the reason.
    """
    url = _parse(text)
    host, port = _host_of(url), url.port or 0
    if port == 0:
        raise UrlRefused("The address has no usable port.")
    for patterns in map(tuple, narrowed_to):
        if patterns and not any(pattern.matches(host, port) for pattern in patterns):
            raise UrlRefused(f"This agent may not reach {host}:{port}.")
    address = _literal(host)
    if address is not None and not rule.permits(address, host=host, port=port):
        raise UrlRefused(_why_not(address, host, port))
    return url.with_host(host).with_fragment(None)


def _why_not(address: Address, host: str, port: int) -> str:
    if classify(address) is AddressClass.NEVER:
        return f"{host} is an address that is never fetched from."
    return (
        f"{host}:{port} lies inside the node's own network, and its operator did not allow it "
        "(allowed_private_hosts)."
    )


def _parse(text: str) -> URL:
    if len(text) > URL_LENGTH_MAX:
        raise UrlRefused(f"The address is longer than {URL_LENGTH_MAX} characters.")
    if "\\" in text or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise UrlRefused("The address holds a space, a backslash or a control character.")
    try:
        url = URL(text)
        scheme, user, password, host = url.scheme, url.user, url.password, url.raw_host
    except (ValueError, TypeError) as error:
        raise UrlRefused(f"This is no address of a page: {error}") from error
    if scheme not in {"http", "https"}:
        raise UrlRefused("The address must begin with http:// or https://.")
    if user is not None or password is not None:
        raise UrlRefused("Leave user name and password out of the address.")
    if not host:
        raise UrlRefused("The address names no host.")
    return url


def _host_of(url: URL) -> str:
    """Return the canonical host: lower case, no dot at the end, addresses in their one form."""
    host = (url.raw_host or "").lower().removesuffix(".")
    if ":" in host:
        address = _literal(host)
        if address is None:
            raise UrlRefused(f"{host[:80]!r} is no IPv6 address without a zone.")
        return str(address)
    if not _HOST_NAME.fullmatch(host):
        raise UrlRefused(f"{host[:80]!r} is no name of a host.")
    if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) and _literal(host) is None:
        raise UrlRefused(
            f"{host!r} is an unusual spelling of an address; write four decimal numbers."
        )
    return host


def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return None
    return address
