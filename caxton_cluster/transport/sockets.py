"""UDP and TCP on one port: the two halves of a member's address.

Sockets and nothing else. Datagrams go into a bounded inbox, since the protocol forgives lost
datagrams and a full memory forgives nothing; accepted streams are handed to a callback.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from caxton_cluster.types import Address

__all__ = ["Inbox", "Sockets", "open_sockets", "outward_host"]

INBOX_DATAGRAMS_MAX: Final = 4096
"""Datagrams waiting for the driver; newer ones are dropped and counted."""

UNSENT_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Datagrams that the kernel does not take yet; newer ones are dropped and counted."""

_BIND_ATTEMPTS_MAX: Final = 16
_RECEIVE_BUFFER_BYTES: Final = 2 * 1024 * 1024

OnStream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Inbox(asyncio.DatagramProtocol):
    """Datagrams as they came, until the driver takes them.

    It is also the driver's bed: an idle member wakes a few times a second for ever, so that what a
    wake-up costs is most of what membership costs. Hence a bare future and an alarm that stays.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, Address]] = deque()
        self._sleeper: asyncio.Future[None] | None = None
        self._has_rung = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self.dropped_count = 0
        """Datagrams dropped because the inbox was full."""
        self.error_count = 0
        """Errors the kernel reported for datagrams sent earlier."""

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Keep a datagram, if there is room."""
        if len(self._waiting) >= INBOX_DATAGRAMS_MAX:
            self.dropped_count += 1
            return
        self._waiting.append((data, _address(addr[0], addr[1])))
        self.ring()

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002 - asyncio's signature
        """Count what the kernel says; probing finds out anyway."""
        self.error_count += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let nothing ring any more."""
        self._set_alarm(None)

    def ring(self) -> None:
        """Wake the driver although no datagram came."""
        self._has_rung = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait(self, until_s: float | None) -> None:
        """Return when there is something to do, or at `until_s` on the loop's clock."""
        if self._has_rung or (until_s is not None and until_s <= self._loop.time()):
            # Others get their turn, however much there is to do.
            await asyncio.sleep(0)
        else:
            if until_s != self._alarm_at:
                self._set_alarm(until_s)
            self._sleeper = self._loop.create_future()
            await self._sleeper
        self._has_rung = False

    def _set_alarm(self, at_s: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at_s
        self._alarm = None if at_s is None else self._loop.call_at(at_s, self._wake)

    def _wake(self) -> None:
        self._alarm = self._alarm_at = None
        self.ring()

    def take(self, count_max: int) -> list[tuple[bytes, Address]]:
        """Return up to `count_max` datagrams, the oldest first."""
        waiting = self._waiting
        if len(waiting) > count_max:
            self._has_rung = True
            return [waiting.popleft() for _ in range(count_max)]
        taken = list(waiting)
        waiting.clear()
        return taken


@lru_cache(maxsize=1024)
def _address(host: str, port: int) -> Address:
    return Address.of(host, port)


@lru_cache(maxsize=1024)
def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


@dataclass(slots=True)
class Sockets:
    """An open pair of sockets."""

    inbox: Inbox
    host: str
    port: int
    """The port of both."""
    unsent_count: int
    """Datagrams that the kernel refused, or could not take as fast as they came."""
    _datagrams: asyncio.DatagramTransport
    _server: asyncio.Server

    def send(self, payload: bytes, target: Address) -> None:
        """Send a datagram; the kernel may refuse, which is counted. Nothing is sent when closed."""
        if self._datagrams.is_closing():
            return
        if _unsent_bytes(self._datagrams) > UNSENT_SIZE_BYTES_MAX:
            self.unsent_count += 1
            return
        try:
            self._datagrams.sendto(payload, _pair(target))
        except (OSError, ValueError):
            # Of uvloop, a ValueError is an address of the other family, which anybody may name.
            self.unsent_count += 1

    def close(self) -> None:
        """Close both; streams in progress are their owners' to close."""
        self._datagrams.close()
        self._server.close()


def _unsent_bytes(transport: asyncio.DatagramTransport) -> int:
    size_bytes: int = transport.get_write_buffer_size()  # type: ignore[attr-defined]  # all have it
    return size_bytes


async def open_sockets(host: str, port: int, on_stream: OnStream) -> Sockets:
    """Bind UDP and TCP to one port of `host`.

    Args:
        host: A numeric address of this machine, or `0.0.0.0` or `::` for all of them.
        port: The port, or 0 for any that is free for both.
        on_stream: Gets each accepted connection and owns it from then on.

    Raises:
        OSError: The address is not ours or the port is taken.
    """
    for attempt in range(_BIND_ATTEMPTS_MAX):
        server = await asyncio.start_server(on_stream, host, port, backlog=128)
        bound_port: int = server.sockets[0].getsockname()[1]
        try:
            datagrams, inbox = await _open_datagrams(host, bound_port)
        except OSError:
            server.close()
            # A port that we may choose was free for TCP and taken for UDP: choose another.
            if port != 0 or attempt + 1 == _BIND_ATTEMPTS_MAX:
                raise
            continue
        return Sockets(inbox, host, bound_port, 0, datagrams, server)
    raise AssertionError("the loop returns or raises")


async def _open_datagrams(host: str, port: int) -> tuple[asyncio.DatagramTransport, Inbox]:
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=(host, port))
    raw = transport.get_extra_info("socket")
    if raw is not None:
        # Room for the burst that follows a join, and for the time that the loop is busy.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    return transport, inbox


def outward_host(host: str) -> str:
    """Return the address that peers reach us by when we listen on all of them.

    Asks the routing table; nothing is sent.

    Raises:
        OSError: There is no route to anywhere.
    """
    if host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return host
    is_v6 = host == "::"
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Documentation addresses (RFC 5737, RFC 3849): routed like any, owned by nobody.
        probe.connect(("2001:db8::1" if is_v6 else "192.0.2.1", 9))
        found: str = probe.getsockname()[0]
        return found
