"""What was found, as the part of a prompt: best first, within a budget of tokens. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from caxton_node.memory.records import Hit

__all__ = ["Knowledge", "assemble"]

LINE_LENGTH_MAX: Final = 1_000
"""Characters of one memory in a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What a turn knows before it begins."""

    texts: tuple[str, ...] = ()
    """One memory each, best first."""
    lines: tuple[str, ...] = ()
    """The same with where they come from, as they stand in the prompt."""
    observation_ids: tuple[int, ...] = ()
    tokens: int = 0
    left_out: int = 0
    """Memories that were found and had no room."""
    note: str = ""
    """What the reader should know of how it was found: by words only, and why."""

    @property
    def text(self) -> str:
        """The part of the prompt."""
        return "\n".join(self.lines)


def assemble(
    hits: Sequence[Hit], *, budget_tokens: int, count_tokens: Callable[[str], int], note: str = ""
) -> Knowledge:
    """Return as much of what was found as fits, best first.

    One that is too long for what is left does not keep a shorter one out. What says the same is
    taken once.
    """
    lines: list[str] = []
    texts: dict[str, int] = {}
    used = left_out = 0
    for hit in hits:
        text = _shortened(hit.observation.text)
        if text in texts:
            continue
        line = f"- {text} ({_origin(hit)})"
        tokens = count_tokens(line)
        if used + tokens > budget_tokens:
            left_out += 1
            continue
        used += tokens
        lines.append(line)
        texts[text] = hit.observation.id
    return Knowledge(
        texts=tuple(texts),
        lines=tuple(lines),
        observation_ids=tuple(texts.values()),
        tokens=used,
        left_out=left_out,
        note=note,
    )


def _origin(hit: Hit) -> str:
    one = hit.observation
    day = datetime.fromtimestamp(one.valid.start / 1000, UTC).date().isoformat()
    about = f"about {one.entity}, " if one.entity.casefold() not in one.text.casefold() else ""
    return f"{about}since {day}"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LINE_LENGTH_MAX else f"{flat[: LINE_LENGTH_MAX - 1]}…"
