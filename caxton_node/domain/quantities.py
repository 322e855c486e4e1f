"""Durations and sizes as people write them: `30s`, `1h30m`, `10MB`, `256MiB`.

One reading for agent files, settings and command lines. Decimal units (kB, MB) count in
thousands and binary ones (KiB, MiB) in 1024s, as IEC 80000-13 has it; case does not matter.
A bare number is seconds, or bytes.
"""

import re
from typing import Final

__all__ = ["format_duration", "format_size", "parse_duration_s", "parse_size_bytes"]

TEXT_LENGTH_MAX: Final = 32
"""No sensible quantity is longer; what is, was never meant as one."""

_DURATION_UNITS_S: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(
    "".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _DURATION_UNITS_S), re.ASCII
)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)

_SIZE_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 1_000,
    "mb": 1_000_000,
    "gb": 1_000_000_000,
    "tb": 1_000_000_000_000,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]{0,3})", re.ASCII)


def parse_duration_s(text: str) -> float | None:
    """Return the seconds that `text` spells, or None where it spells none.

    Units go from the larger to the smaller, each at most once: `1d`, `1h30m`, `2m30s`, `500ms`.
    """
    if not text or len(text) > TEXT_LENGTH_MAX:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    return sum(
        float(count) * _DURATION_UNITS_S[unit] for unit, count in match.groupdict("0").items()
    )


def parse_size_bytes(text: str) -> int | None:
    """Return the bytes that `text` spells, or None where it spells none or not whole ones."""
    if len(text) > TEXT_LENGTH_MAX:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    unit = _SIZE_UNITS.get(match[2].lower())
    if unit is None:
        return None
    size = float(match[1]) * unit if "." in match[1] else int(match[1]) * unit
    return int(size) if size == int(size) else None


def format_duration(duration_s: float) -> str:
    """Return the spelling that `parse_duration_s` reads as `duration_s`, to the millisecond."""
    rest_ms = round(duration_s * 1_000)
    if rest_ms == 0:
        return "0s"
    parts = []
    for unit, unit_s in _DURATION_UNITS_S.items():
        count, rest_ms = divmod(rest_ms, round(unit_s * 1_000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_size(size_bytes: int) -> str:
    """Return the shortest whole spelling that `parse_size_bytes` reads as `size_bytes`."""
    names = ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB")
    spellings = [
        f"{size_bytes // _SIZE_UNITS[name.lower()]}{name}"
        for name in names
        if size_bytes and size_bytes % _SIZE_UNITS[name.lower()] == 0
    ]
    return min([*spellings, f"{size_bytes}B"], key=len)
