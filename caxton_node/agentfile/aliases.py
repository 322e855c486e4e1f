"""Spellings that authors bring along from elsewhere, and the proper ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["ALIASES", "VALUE_ALIASES", "Alias"]


@dataclass(frozen=True, slots=True)
class Alias:
    """Another spelling of a key."""

    key: str
    """The proper one."""
    has_warning: bool = True
    """Whether the author is told of the proper one."""


ALIASES: Final[Mapping[str, Alias]] = MappingProxyType(
    {
        "memory_enabled": Alias("memory.enabled", has_warning=False),
        "memory_scope": Alias("memory.scope", has_warning=False),
        "requires": Alias("depends_on"),
        "llm.timeout_seconds": Alias("llm.timeout"),
        "llm.retry_attempts": Alias("llm.retries"),
    }
)
"""Spellings that authors bring along."""

VALUE_ALIASES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {("memory.scope", "agent-only"): "agent"}
)
"""The same for values of a key."""
