"""Pages and cursors, the same for every store.

A cursor is the sequence number of the last item shown, in decimal. It stays valid while
messages come and go, because numbers are never used twice.
"""

from typing import Final

from caxton_node.domain.errors import Place, Rejected

__all__ = [
    "LIMIT_MAX",
    "PARTICIPANTS_MAX",
    "PARTICIPANT_SCAN_MAX",
    "clamp_limit",
    "parse_cursor",
]

LIMIT_MAX: Final = 1_000
"""Items on one page."""

PARTICIPANTS_MAX: Final = 100
"""Names that a conversation shows."""

PARTICIPANT_SCAN_MAX: Final = 1_000
"""First messages of a conversation in which participants are looked for."""

_DIGITS_MAX: Final = 18
"""Every number of so many digits fits SQLite's 64 bits."""


def clamp_limit(limit: int) -> int:
    """Return `limit`, made at least 1 and at most `LIMIT_MAX`."""
    return max(1, min(limit, LIMIT_MAX))


def parse_cursor(cursor: str | None) -> int | None:
    """Return the sequence number in a cursor; None for the first page.

    Raises:
        Rejected: `invalid_request`: this is no cursor of ours.
    """
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS_MAX):
        raise Rejected(
            "invalid_request",
            "The cursor is malformed.",
            hint="Pass `next_cursor` of the previous page back as it was, or leave it out.",
            places=[Place("not a cursor of this list", field="cursor", rule="malformed_cursor")],
        )
    return int(cursor)
