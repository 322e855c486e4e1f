"""Which of a few given words a request means: the value of an `enum`.

A choice is made when its words are said. One that must be made may also rest on a word of the
same meaning (*how many* for `count`); what may be left out is not chosen on a hunch.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.words import GENERIC_STEMS, concepts, content_stems, stems

__all__ = ["best_choice"]

CHOICE_COUNT_MAX: Final = 100

SAID_WEIGHT: Final = 0.9
MEANT_WEIGHT: Final = 0.72

_LINKS: Final = frozenset({"to", "of", "the", "by"})


def best_choice(
    choices: Sequence[Any], reading: Reading, *, is_required: bool
) -> tuple[float, str | None]:
    """Return how sure the best choice is, 0 to 1, and the choice."""
    said = set(content_stems(reading.prose))
    meant = {concept for part in said for concept in concepts(part)} if is_required else set()
    best: tuple[float, str | None] = (0.0, None)
    for choice in choices[:CHOICE_COUNT_MAX]:
        if isinstance(choice, str) and choice:
            sure = _sureness(choice, reading.text, said, meant)
            if sure > best[0]:
                best = (sure, choice)
    return best


def _sureness(choice: str, text: str, said: set[str], meant: set[str]) -> float:
    if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE):
        return 1.0
    words = [part for part in stems(choice) if part not in _LINKS]
    total = hit = 0.0
    for part in words:
        # *Extract* in `extract_emails` says less than *emails*.
        weight = 0.5 if part in GENERIC_STEMS or "~extract" in concepts(part) else 1.0
        total += weight
        if part in said:
            hit += weight * SAID_WEIGHT
        elif not meant.isdisjoint(concepts(part)):
            hit += weight * MEANT_WEIGHT
    return hit / total if total else 0.0
