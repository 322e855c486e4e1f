"""Telling systemd how the service does: ready, reloading, stopping, still alive.

Reference: sd_notify(3), sd_watchdog_enabled(3). Without `NOTIFY_SOCKET` in the environment nothing
is sent.
"""

import asyncio
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["notify", "notify_reloading", "watchdog", "watchdog_interval_s"]


def notify(state: str, environment: Mapping[str, str]) -> None:
    """Send a state such as `READY=1` to the service manager, if there is one."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            # The manager is gone; the service itself is fine.
            return


def notify_reloading(environment: Mapping[str, str]) -> None:
    """Say that settings are being read again; `READY=1` ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", environment)


def watchdog_interval_s(environment: Mapping[str, str], process_id: int) -> float | None:
    """Return how often the service manager wants a sign of life: twice in what it allows.

    Args:
        environment: Where it says so.
        process_id: Ours. What is meant for another process is not for us.

    Returns:
        Seconds; None when it wants none.
    """
    try:
        allowed_s = int(environment.get("WATCHDOG_USEC", "0")) / 1_000_000
        meant = int(environment.get("WATCHDOG_PID", str(process_id)))
    except ValueError:
        return None
    return allowed_s / 2 if allowed_s > 0 and meant == process_id else None


@contextmanager
def watchdog(environment: Mapping[str, str]) -> Iterator[None]:
    """Give signs of life from the event loop, as long as the block lasts.

    A loop that hangs gives none, and the service manager starts the node anew.
    """
    interval_s = watchdog_interval_s(environment, os.getpid())
    if interval_s is None:
        yield
        return
    loop = asyncio.get_running_loop()

    timers: list[asyncio.TimerHandle] = []

    def live() -> None:
        notify("WATCHDOG=1", environment)
        timers[:] = [loop.call_later(interval_s, live)]

    live()
    try:
        yield
    finally:
        timers[0].cancel()
