"""Rumours waiting to be spread: bounded, at most one a member, packed to the datagram.

A rumour is sent a limited number of times and forgotten; push/pull repairs what that leaves
open. A newer rumour about the same member replaces the older one, so that the queue is never
longer than the member table. Rumours of the application above come after those about members.

Order: fewest sends first, then longest (small ones fill the gaps), then newest.
"""

import math
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from caxton_cluster.config import SwimConfig
from caxton_cluster.swim.wire.compound import PART_OVERHEAD_SIZE_BYTES, PARTS_MAX

__all__ = ["RumourQueue", "send_count_max"]


def send_count_max(config: SwimConfig, member_count: int) -> int:
    """Return how often one member sends one rumour.

    Memberlist's multiple of log10, but at least once to each member of a small ring: four sends
    among nine members leave somebody uninformed in one run of fifteen.
    """
    usual = config.retransmit_mult * math.ceil(math.log10(member_count + 1))
    return max(usual, min(config.retransmit_floor, member_count + 1))


_Key = TypeVar("_Key", str, int)


@dataclass(slots=True)
class _Rumour:
    payload: bytes
    serial: int
    send_count: int = 0

    def urgency(self) -> tuple[int, int, int]:
        return (self.send_count, -len(self.payload), -self.serial)


class RumourQueue:
    """What we still have to tell."""

    def __init__(self, user_count_max: int) -> None:
        self._user_count_max = user_count_max
        self._of_members: dict[str, _Rumour] = {}
        self._of_users: dict[int, _Rumour] = {}
        self._serials = count()
        self.dropped_count = 0
        """Application rumours that gave way to newer ones unsent or half sent."""

    def __len__(self) -> int:
        return len(self._of_members) + len(self._of_users)

    def __contains__(self, name: str) -> bool:
        return name in self._of_members

    def put(self, name: str, payload: bytes) -> None:
        """Queue the newest rumour about the member `name`, in place of any older one."""
        self._of_members[name] = _Rumour(payload, next(self._serials))

    def forget(self, name: str) -> None:
        """Drop the rumour about a member that is no longer known; a lonely member never sent it."""
        self._of_members.pop(name, None)

    def put_user(self, payload: bytes) -> None:
        """Queue a rumour of the application above; the oldest gives way when there are many."""
        if len(self._of_users) >= self._user_count_max:
            del self._of_users[next(iter(self._of_users))]
            self.dropped_count += 1
        serial = next(self._serials)
        self._of_users[serial] = _Rumour(payload, serial)

    @property
    def user_count(self) -> int:
        """Application rumours still to be sent."""
        return len(self._of_users)

    def take(self, room_bytes: int, send_limit: int, count_max: int = PARTS_MAX) -> list[bytes]:
        """Return rumours for one datagram and count them as sent once more.

        Args:
            room_bytes: Space, out of which every rumour also takes its length field.
            send_limit: Sends after which a rumour is dropped.
            count_max: Most rumours to return.
        """
        taken: list[bytes] = []
        room_bytes = _take_from(self._of_members, room_bytes, send_limit, count_max, taken)
        _take_from(self._of_users, room_bytes, send_limit, count_max, taken)
        return taken


def _take_from(
    queue: dict[_Key, _Rumour],
    room_bytes: int,
    send_limit: int,
    count_max: int,
    taken: list[bytes],
) -> int:
    if not queue:
        return room_bytes
    finished: list[_Key] = []
    for key, rumour in sorted(queue.items(), key=lambda item: item[1].urgency()):
        size_bytes = len(rumour.payload) + PART_OVERHEAD_SIZE_BYTES
        if len(taken) >= count_max:
            break
        if size_bytes > room_bytes:
            continue
        room_bytes -= size_bytes
        taken.append(rumour.payload)
        rumour.send_count += 1
        if rumour.send_count >= send_limit:
            finished.append(key)
    for key in finished:
        del queue[key]
    return room_bytes
