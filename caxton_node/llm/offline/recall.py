"""What memory recalled, and which of it answers the question.

The turn hands recalled facts over in `ModelRequest.knowledge`. Where it does not, they are read
from the prompt, below a line that announces them (*Relevant knowledge:*, *## Memory*). A fact is
repeated as it stands or not at all.
"""

import re
from collections.abc import Sequence
from typing import Final

from caxton_node.llm.model import ModelRequest
from caxton_node.llm.offline.words import GENERIC_STEMS, concepts, content_stems

__all__ = ["matching_facts", "recalled_facts"]

FACT_COUNT_MAX: Final = 50
"""Facts that are looked at."""

FACT_LENGTH_MAX: Final = 500
"""Characters of one fact that are repeated."""

ANSWER_COUNT_MAX: Final = 5
"""Facts in one answer."""

_HEADING: Final = re.compile(
    r"^\s{0,3}(?:#{1,6}\s*)?(?:\*\*)?(?:relevant |recalled |known |stored |background )?"
    r"(?:knowledge|memory|memories|facts|what you (?:remember|know))"
    r"(?: from memory)?(?:\*\*)?\s*:?(?:\*\*)?\s*$",
    re.IGNORECASE,
)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")


def recalled_facts(request: ModelRequest) -> tuple[str, ...]:
    """Return the facts that a request carries, best first."""
    facts = list(request.knowledge) or [
        fact
        for message in request.messages
        if message.role in {"system", "user"}
        for fact in _below_heading(message.content)
    ]
    return tuple(dict.fromkeys(fact.strip() for fact in facts if fact.strip()))[:FACT_COUNT_MAX]


def matching_facts(question: str, facts: Sequence[str]) -> tuple[str, ...]:
    """Return the facts that share telling words with the question, best first."""
    asked = [part for part in content_stems(question) if part not in GENERIC_STEMS]
    scored: list[tuple[float, int, str]] = []
    for position, fact in enumerate(facts):
        known = set(content_stems(fact))
        meant = known | {concept for part in known for concept in concepts(part)}
        hits = sum(
            1.0 if part in known else 0.5 * (not meant.isdisjoint(concepts(part))) for part in asked
        )
        if hits >= 1.0:
            scored.append((-hits, position, _shortened(fact)))
    scored.sort()
    if not scored:
        return ()
    # A fact that shares one word where another shares three is beside the point.
    least = scored[0][0] / 2
    return tuple(fact for hits, _, fact in scored[:ANSWER_COUNT_MAX] if hits <= least)


def _below_heading(text: str) -> list[str]:
    facts: list[str] = []
    is_inside = False
    for line in text.splitlines():
        if _HEADING.match(line):
            is_inside = True
        elif is_inside and not line.strip():
            is_inside = not facts
        elif is_inside and line.lstrip().startswith("#"):
            is_inside = False
        elif is_inside:
            facts.append(_BULLET.sub("", line))
    return facts


def _shortened(fact: str) -> str:
    return fact if len(fact) <= FACT_LENGTH_MAX else fact[: FACT_LENGTH_MAX - 1] + "…"
