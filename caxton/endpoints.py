"""Which of several endpoints to call next: decided by what was seen of them, without I/O.

The one that answered last is asked again, so that what a client does stays on one node. One that
could not be reached is left alone for a while that doubles, and is tried again all the same when
no other is left.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

__all__ = ["BACKOFF_FIRST_S", "BACKOFF_MAX_S", "Endpoints", "is_local", "parse_endpoint"]

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 30.0

ENDPOINTS_MAX: Final = 100
PORT_DEFAULT: Final = 50051


def parse_endpoint(text: str) -> str:
    """Return `host:port`; the port is 50051 where it is left out.

    Raises:
        ValueError: It is neither a host nor a host and a port.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text.strip(), str(PORT_DEFAULT)
    if not host or "/" in host or (":" in host and not host.startswith("[")):
        raise ValueError(f"{text!r} is no endpoint; write host:port, or [address]:port for IPv6")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f"{text!r} has no port between 1 and 65535")
    return f"{host}:{port}"


def is_local(endpoint: str) -> bool:
    """Return whether an endpoint is on this machine: by name or address, not by a look-up."""
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Endpoints:
    """A list of endpoints and what was seen of them.

    Args:
        given: `host:port` each; the first is the favourite.

    Raises:
        ValueError: There are none, too many, or one is wrong.
    """

    def __init__(self, given: Sequence[str]) -> None:
        endpoints = tuple(dict.fromkeys(map(parse_endpoint, given)))
        if not 1 <= len(endpoints) <= ENDPOINTS_MAX:
            raise ValueError(f"give 1 to {ENDPOINTS_MAX} endpoints")
        self.all = endpoints
        self._favourite = 0
        self._failures = [0] * len(endpoints)
        self._blocked_until = [0.0] * len(endpoints)

    def order(self, now_s: float) -> list[str]:
        """Return all endpoints in the order in which to try them."""
        count = len(self.all)
        turn = [(self._favourite + step) % count for step in range(count)]
        # Stable: among those that are not blocked the favourite comes first.
        turn.sort(key=lambda index: max(self._blocked_until[index], now_s))
        return [self.all[index] for index in turn]

    def answered(self, endpoint: str) -> None:
        """Note that an endpoint answered."""
        self._favourite = index = self.all.index(endpoint)
        self._failures[index], self._blocked_until[index] = 0, 0.0

    def failed(self, endpoint: str, now_s: float) -> None:
        """Note that an endpoint could not be reached."""
        index = self.all.index(endpoint)
        self._failures[index] += 1
        # The exponent is bounded: beyond it the wait is the longest anyway.
        wait_s = BACKOFF_FIRST_S * 2 ** min(self._failures[index] - 1, 10)
        self._blocked_until[index] = now_s + min(wait_s, BACKOFF_MAX_S)
