"""Keys that this version accepts and keeps but does not act upon.

A file may be ahead of the server that reads it, as long as its author is told. Whoever makes the
server act upon a key deletes its row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["NOT_ACTED_UPON"]

_UNUSED: Final = "is kept in the file, but the server does not use it"

NOT_ACTED_UPON: Final[Mapping[str, str]] = MappingProxyType(
    {
        "author": _UNUSED,
        "license": _UNUSED,
        "tags": _UNUSED,
        "permissions.approvals": "is accepted, but this version cannot ask for approval: these "
        "tools are refused",
        "schedule.cron": "is accepted, but this version does not wake agents by the clock",
    }
)
"""By key, what the author is told: it reads on from the key's name.

Said where a value differs from doing nothing: `deployment.replicas = 1` is what happens anyway.
"""
