"""Identifiers that sort by time and never repeat, made without asking anyone.

An id is a kind, the boot's token and a counter: `msg-0mfa3k2v9qw7x0a1b-0000000f`. The token
holds the boot's time and 40 random bits, so that two nodes, or two boots of one, never share it;
the counter makes the ids of one boot append to an index instead of scattering over it.
"""

from collections.abc import Callable
from random import Random
from typing import Final

__all__ = ["IdFactory", "boot_token", "id_factory"]

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_DIGITS: Final = 9
_RANDOM_DIGITS: Final = 8

_LOW_DIGITS: Final = tuple(f"{number:03x}" for number in range(0x1000))
"""The last three digits of a counter: looked up, an id takes half the time of a formatted one."""

IdFactory = Callable[[str], str]
"""Takes the kind (`msg`, `conv`) and returns a new id."""


def _base36(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 36)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits))


def boot_token(now_ms: int, random: Random) -> str:
    """Return the token of a boot that begins at `now_ms` (milliseconds since 1970)."""
    return _base36(now_ms, _TIME_DIGITS) + _base36(random.getrandbits(40), _RANDOM_DIGITS)


def id_factory(token: str) -> IdFactory:
    """Return a factory whose ids all carry `token`."""
    count = 0
    high = f"-{token}-00000"

    def new_id(kind: str) -> str:
        nonlocal count, high
        count += 1
        low = count & 0xFFF
        if not low:
            high = f"-{token}-{count >> 12:05x}"
        return kind + high + _LOW_DIGITS[low]

    return new_id
