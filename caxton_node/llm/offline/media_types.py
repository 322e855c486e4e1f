"""Which data a parameter takes, and which a tool yields, by media type.

Reference: RFC 9110, section 12.5.1 (media ranges: `text/csv`, `text/*`, `*/*`).
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["accepted_media_types", "matches_media_type"]


def accepted_media_types(rules: Mapping[str, Any]) -> frozenset[str]:
    """Return the media ranges that a parameter's schema names; empty is any."""
    named = rules.get("x-media-types")
    if not isinstance(named, list | tuple):
        return frozenset()
    return frozenset(str(one).lower() for one in named)


def matches_media_type(media_type: str, allowed: frozenset[str]) -> bool:
    """Tell whether one of the ranges in `allowed` covers a media type."""
    major = media_type.partition("/")[0]
    return not allowed or not allowed.isdisjoint({media_type, f"{major}/*", "*/*"})
