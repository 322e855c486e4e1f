"""What an agent offers, by name: `data-analysis`, `data-analysis.visual`, `translate:v2`.

A name is lower-kebab words joined by dots, from the general to the particular, with an optional
version after a colon. Whoever asks for the general also gets the particular: a provider of
`data-analysis.visual` answers a request for `data-analysis`. Whoever asks for a version gets
that version; whoever asks for none gets any.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CAPABILITY_LENGTH_MAX", "Capability", "parse_capability"]

CAPABILITY_LENGTH_MAX: Final = 100

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?:\.[a-z][a-z0-9]*(?:-[a-z0-9]+)*)*")
_VERSION: Final = re.compile(r"v[0-9]+(?:\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class Capability:
    """A parsed capability."""

    name: str
    version: str | None = None
    """`v2` or `v2.1`, as written after the colon."""

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}:{self.version}"

    def answers_to(self) -> Iterator[str]:
        """Yield every spelling of a request that this capability satisfies, nearest first."""
        name = self.name
        while True:
            if self.version is not None:
                yield f"{name}:{self.version}"
            yield name
            name, dot, _ = name.rpartition(".")
            if not dot:
                return


def parse_capability(text: str) -> Capability | None:
    """Return the capability that `text` spells, or None where it breaks the rule."""
    if len(text) > CAPABILITY_LENGTH_MAX:
        return None
    name, colon, version = text.partition(":")
    if not _NAME.fullmatch(name):
        return None
    if not colon:
        return Capability(name)
    return Capability(name, version) if _VERSION.fullmatch(version) else None
