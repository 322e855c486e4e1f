"""Numbers and instants as people read them."""

from datetime import UTC, datetime

__all__ = ["counted", "elapsed", "instant"]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 agent`, `3 agents`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def elapsed(duration_s: float | None) -> str:
    """Return a duration by its two largest units, such as `3d 4h` or `12s`; `-` for None."""
    if duration_s is None:
        return "-"
    rest_s = int(duration_s)
    parts: list[str] = []
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest_s = divmod(rest_s, unit_s)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def instant(text: str | None) -> str:
    """Return an instant of the API (RFC 3339, UTC) in local time; `-` for None."""
    if not text:
        return "-"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
