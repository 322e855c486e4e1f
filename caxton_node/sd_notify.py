"""Telling systemd how the service does: ready, stopping, still alive.

Reference: sd_notify(3). Without `NOTIFY_SOCKET` in the environment nothing is sent.
"""

import socket
from collections.abc import Mapping

__all__ = ["notify"]


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
