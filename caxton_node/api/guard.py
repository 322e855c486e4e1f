"""Keeping web pages of others away from a node that trusts its own machine. Pure.

A node on loopback asks nobody for a password, and a browser on the same machine runs pages from
everywhere. Three rules keep them out: the Host must be a name of this machine (a page whose own
name was rebound to 127.0.0.1 fails here), a request that changes something must not come from
another site, and bodies must be `application/json`, which a form cannot send. No answer ever
carries a CORS permission.

Reference: Fetch Metadata Request Headers (W3C); RFC 6454 for origins.
"""

from collections.abc import Mapping
from typing import Final

from caxton_node.domain.errors import Denied

__all__ = ["is_loopback", "refuse_foreign"]

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})


def is_loopback(address: str) -> bool:
    """Return whether a local socket address is reachable from this machine only."""
    return address == "::1" or address.startswith(("127.", "::ffff:127."))


def refuse_foreign(method: str, headers: Mapping[str, str], *, is_local: bool) -> None:
    """Let a request pass that no page of another site can have sent.

    Args:
        method: In capitals.
        headers: Of the request; names in any case.
        is_local: The connection was made to a loopback address.

    Raises:
        Denied: `denied`.
    """
    host = headers.get("Host")
    if is_local and host is not None and _name_of(host) not in _LOCAL_NAMES:
        raise Denied(
            "denied",
            f"this node answers on its own machine only, not as {host[:100]!r}",
            hint="Use http://localhost or http://127.0.0.1 with the node's port.",
        )
    if method in _SAFE_METHODS:
        return
    site = headers.get("Sec-Fetch-Site")
    origin = headers.get("Origin")
    if (site is not None and site not in _OWN_SITES) or (
        origin is not None and origin.partition("://")[2] != (host or "")
    ):
        raise Denied("denied", "pages of other sites may not change anything here")


def _name_of(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()
