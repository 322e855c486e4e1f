"""Seeds: how a newcomer is told where its ring is.

A seed is `host`, `host:port` or `[v6]:port`. A name may stand for many addresses (a headless
service lists one a pod) and for others tomorrow, so that it is resolved anew for each attempt.
"""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from caxton_cluster.errors import InvalidSetting
from caxton_cluster.types import Address

__all__ = ["DEFAULT_PORT", "Seed", "parse_seed", "resolve"]

DEFAULT_PORT: Final = 7946

RESOLVE_TIMEOUT_S: Final = 5.0
"""For one seed; whoever takes longer is left out this time."""

ADDRESSES_MAX: Final = 64
"""Most addresses tried of all that the names stand for."""

_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Seed:
    """A host, by number or name, and a port."""

    host: str
    port: int


def parse_seed(text: str, *, default_port: int = DEFAULT_PORT) -> Seed:
    """Return the seed that `text` describes.

    Raises:
        InvalidSetting: There is no host, or the port is not a port.
    """
    text = text.strip()
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing:
            raise InvalidSetting("seed", f"{text!r} lacks a closing bracket")
        port_text = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port_text = text, ""  # a bare IPv6 address
    else:
        host, _, port_text = text.partition(":")
    if not host:
        raise InvalidSetting("seed", f"{text!r} names no host; write host:port")
    if not _is_host_name(host):
        raise InvalidSetting("seed", f"{text!r} is neither an address nor the name of a host")
    if not port_text:
        return Seed(host, default_port)
    if not port_text.isdecimal() or not 0 < int(port_text) <= _PORT_MAX:
        raise InvalidSetting("seed", f"{text!r} has no port in 1..65535")
    return Seed(host, int(port_text))


def _is_host_name(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:  # an empty part, or one that is too long
        return False
    return "\0" not in host


async def resolve(seeds: Iterable[Seed]) -> tuple[list[Address], list[str]]:
    """Return the addresses that `seeds` stand for now, and why others could not be found.

    All are looked up at once, so that one whose name service is slow holds up no other.
    """
    async with asyncio.TaskGroup() as tasks:
        lookups = [tasks.create_task(_lookup(seed)) for seed in seeds]
    found = [lookup.result() for lookup in lookups]
    addresses = dict.fromkeys(address for some, _ in found for address in some)
    return list(addresses)[:ADDRESSES_MAX], [problem for _, problem in found if problem]


async def _lookup(seed: Seed) -> tuple[list[Address], str]:
    """Return the addresses of one seed, or none and why."""
    try:
        return [Address.of(seed.host, seed.port)], ""
    except ValueError:
        pass  # a name, not a number
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            rows = await loop.getaddrinfo(seed.host, seed.port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        return [], f"{seed.host}: not resolved within {RESOLVE_TIMEOUT_S:g} s"
    except OSError as error:
        return [], f"{seed.host}: {error.strerror or error}"
    return [Address.of(str(row[4][0]), seed.port) for row in rows], ""
