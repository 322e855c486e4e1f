"""Which tool fits a request best, with which arguments, and whether that is enough to call it.

Texts alone put a good tool among the first three; what decides is whether its parameters are
answered by what the request names. A tool that leaves the named URL unused, or wants a path that
nobody gave, is not the one. Enough means: complete arguments, none of them a guess, and words of
the request that the tool's own name or description answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.arguments import Filled, fill
from caxton_node.llm.offline.entities import is_directory
from caxton_node.llm.offline.gathered import Gathered
from caxton_node.llm.offline.ranking import ToolIndex, ToolText
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.safety import is_allowed, serves_verbs
from caxton_node.llm.offline.words import GENERIC_STEMS, concepts, stems, terms

__all__ = ["Candidate", "candidates"]

CANDIDATE_COUNT_MAX: Final = 8
"""Tools that are looked at closely, by rank of their texts."""

TEXT_WEIGHT: Final = 1.0
NAME_WEIGHT: Final = 0.6
SUPPORT_WEIGHT: Final = 0.6
NAMED_BONUS: Final = 1.0
FILLED_BONUS: Final = 0.35
USED_BONUS: Final = 0.25
MISSING_PENALTY: Final = 0.5
UNUSED_PENALTY: Final = 0.3
DEPRECATED_PENALTY: Final = 0.5
MISMATCH_PENALTY: Final = 0.3

MEANT_WEIGHT: Final = 0.7
HINTED_WEIGHT: Final = 0.4
"""Of a word that only the form of what is named suggests, beside one that is said."""

RARITY_MIN: Final = 1.0
RARITY_MAX: Final = 2.0

SUPPORT_MIN: Final = 0.3
"""Share of the request's words, weighted by rarity, that a tool must answer to be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A tool with the arguments that could be filled."""

    tool: ToolSpec
    filled: Filled
    score: float
    support: float
    """Share of the request's words that the tool's text answers, 0 to 1."""
    answered: frozenset[str]
    """Stems of the request that the tool's text answers."""
    is_allowed: bool
    """The call would be safe, or was asked for in so many words."""
    is_evident: bool
    """The request's words speak for this tool."""

    @property
    def is_callable(self) -> bool:
        """It may be called now."""
        return self.filled.is_complete and self.is_allowed and self.is_evident


def candidates(
    reading: Reading,
    tools: Sequence[ToolSpec],
    gathered: Gathered,
    *,
    remaining: frozenset[str] | None = None,
) -> list[Candidate]:
    """Return the tools that may serve the request, best first.

    Args:
        reading: The request.
        tools: All that may be called.
        gathered: What the turn has so far.
        remaining: Stems of the request that nothing has answered yet; None is all of them.
    """
    index = ToolIndex(tools)
    wanted = [part for part in reading.content if remaining is None or part in remaining]
    query = list(reading.query) if remaining is None else terms(" ".join(wanted))
    ranked = index.ranked(query)
    if not ranked:
        return []
    best = ranked[0][0]
    named = [pair for pair in ranked if reading.names(pair[1].spec.name)]
    chosen = {id(text): (score, text) for score, text in [*named, *ranked[:CANDIDATE_COUNT_MAX]]}
    found = [
        _candidate(text, score / best, reading, gathered, index, wanted)
        for score, text in chosen.values()
    ]
    # Sorting keeps the order of ranks where scores are equal.
    return sorted(found, key=lambda candidate: candidate.score, reverse=True)


def _candidate(
    text: ToolText,
    text_score: float,
    reading: Reading,
    gathered: Gathered,
    index: ToolIndex,
    wanted: Sequence[str],
) -> Candidate:
    tool = text.spec
    filled = fill(tool.parameters, reading, gathered, tool_words=text.name)
    chosen = _chosen_words(tool, filled)
    answered = frozenset(part for part in wanted if part in chosen or _matches(part, text.gist))
    spoken = _spoken(filled)
    support = _support(answered, spoken, reading, index)
    coverage = _name_coverage(text, reading)
    is_named = reading.names(tool.name)
    score = (
        TEXT_WEIGHT * text_score
        + NAME_WEIGHT * coverage
        + SUPPORT_WEIGHT * support
        + NAMED_BONUS * is_named
        + _argument_score(filled, reading)
        - MISMATCH_PENALTY * _is_mismatch(text, filled)
        - DEPRECATED_PENALTY * ("deprecated" in tool.description.casefold())
    )
    return Candidate(
        tool=tool,
        filled=filled,
        score=score,
        support=support,
        answered=answered,
        is_allowed=is_allowed(tool, filled.arguments, reading),
        is_evident=is_named
        or (
            serves_verbs(reading, tool, text.gist)
            and (
                not chosen.isdisjoint(answered - GENERIC_STEMS)
                or _is_evident(text, filled, answered, support, coverage, wanted, reading)
            )
        ),
    )


def _argument_score(filled: Filled, reading: Reading) -> float:
    score = 0.0
    if filled.required_count:
        answered = filled.required_count - len(filled.missing)
        score += FILLED_BONUS * max(0, answered) / filled.required_count
        score -= MISSING_PENALTY * len(filled.missing) / filled.required_count
    typed = [entity for entity in reading.entities if entity.is_typed]
    used = {(entity.start, entity.end) for entity in filled.used}
    unused = [entity for entity in typed if (entity.start, entity.end) not in used]
    numbers = [
        entity
        for entity in reading.entities
        if entity.kind == "number" and (entity.start, entity.end) not in used
    ]
    score += USED_BONUS * min(2, len(typed) - len(unused))
    return score - UNUSED_PENALTY * min(2, len(unused)) - 0.1 * min(2, len(numbers))


def _matches(part: str, known: frozenset[str]) -> bool:
    return part in known or not known.isdisjoint(concepts(part))


def _chosen_words(tool: ToolSpec, filled: Filled) -> frozenset[str]:
    """Return the stems of choices that were made: what a tool offers by name, it answers."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping):
        return frozenset()
    return frozenset(
        part
        for name, value in filled.arguments.items()
        if isinstance(value, str) and "enum" in (properties.get(name) or ())
        for part in stems(value)
    )


def _spoken(filled: Filled) -> frozenset[str]:
    """Return the stems of what became an argument: these words need no other answer."""
    texts = [
        str(item)
        for value in filled.arguments.values()
        for item in (value if isinstance(value, list) else [value])
        if isinstance(item, str)
    ]
    return frozenset(part for text in texts for part in stems(text))


def _is_mismatch(text: ToolText, filled: Filled) -> bool:
    """A single file given to a tool for folders, or a single thing to one for several."""
    if "directori" in text.name or "directory" in text.name or "folder" in text.name:
        paths = [entity for entity in filled.used if entity.kind == "path"]
        if paths and not any(is_directory(str(entity.value)) for entity in paths):
            return True
    return any(isinstance(value, list) and len(value) == 1 for value in filled.arguments.values())


def _support(
    answered: frozenset[str], spoken: frozenset[str], reading: Reading, index: ToolIndex
) -> float:
    weights = {
        part: _weight(part, index)
        for part in reading.content
        if part in answered or part not in spoken
    }
    total = sum(weights.values())
    return sum(weights[part] for part in weights if part in answered) / total if total else 0.0


def _weight(part: str, index: ToolIndex) -> float:
    # Within one server's tools its subject is in every text, and a word that is in none weighs
    # too much; neither extreme says much about the request.
    rarity = min(max(index.rarity(part), RARITY_MIN), RARITY_MAX)
    return 0.3 * rarity if part in GENERIC_STEMS else rarity


def _name_coverage(text: ToolText, reading: Reading) -> float:
    """Return the share of the words of the tool's name that the request says."""
    said = set(terms(reading.prose))
    hinted = set(reading.hints) - said
    plain = [part for part in text.name if not part.startswith("~")]
    own = [part for part in plain if part not in GENERIC_STEMS] or plain
    hits = 0.0
    for part in own:
        if part in said:
            hits += 1.0
        elif not said.isdisjoint(concepts(part)):
            hits += MEANT_WEIGHT
        elif part in hinted or not hinted.isdisjoint(concepts(part)):
            hits += HINTED_WEIGHT
    return hits / len(own) if own else 0.0


def _is_evident(
    text: ToolText,
    filled: Filled,
    answered: frozenset[str],
    support: float,
    coverage: float,
    wanted: Sequence[str],
    reading: Reading,
) -> bool:
    telling = [part for part in answered if part not in GENERIC_STEMS]
    typed = [entity for entity in filled.used if entity.is_typed]
    if not wanted:
        return bool(typed)
    if typed and any(_matches(part, frozenset(text.counts)) for part in wanted):
        return True
    # Who names an address wants it looked at, in whatever words.
    if any(entity.kind == "url" for entity in typed):
        return True
    if telling and (_takes_kept(filled) or (filled.missing_data and _has_address(reading))):
        return True
    if not filled.required_count:
        # Nothing but its words speaks for a tool that takes nothing: they must all be there.
        return coverage >= 0.6 and support >= SUPPORT_MIN and bool(telling)
    by_name = any(_matches(part, text.name) for part in telling)
    return bool(telling) and support >= SUPPORT_MIN and (by_name or len(telling) >= 2)


def _takes_kept(filled: Filled) -> bool:
    """It takes data that the conversation keeps."""
    return any(str(value).startswith("artifact:") for value in filled.arguments.values())


def _has_address(reading: Reading) -> bool:
    """The data that a tool lacks may be had from where the request says."""
    return any(entity.kind in {"url", "path", "csv", "json"} for entity in reading.entities)
