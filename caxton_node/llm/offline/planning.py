"""The next call of a turn, or that there is none.

Calls are chained by data: what the request asks for may need a table, a table is made from a
CSV file, and the file lies behind the URL that the request names. The plan is made anew for each
round from what the context shows, and only its first step is returned; a call that was made
stands in the context, so no call is ever made twice.

The turn ends when no word of the request is left that a tool could answer, when a call failed,
or when what is left cannot be called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.gathered import Gathered
from caxton_node.llm.offline.media_types import matches_media_type
from caxton_node.llm.offline.ranking import ToolIndex
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.selection import Candidate, candidates
from caxton_node.llm.offline.words import GENERIC_STEMS, concepts

__all__ = ["Plan", "next_step"]

CHAIN_LENGTH_MAX: Final = 4
"""Calls from what is there to what is asked for."""

GOAL_COUNT_MAX: Final = 3
"""Tools that are considered as what is asked for."""

REMAINING_SUPPORT_MIN: Final = 0.15
"""Share of the request that must still be unanswered for another tool to be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now."""

    call: Candidate | None
    """The call to make, or None when there is none."""
    near: Candidate | None = None
    """The tool that fits best but cannot be called, for the answer to say what it lacks."""


def next_step(reading: Reading, tools: Sequence[ToolSpec], gathered: Gathered) -> Plan:
    """Decide on the next call. Never raises."""
    if gathered.results:
        return _continued(reading, tools, gathered)
    if reading.is_unreadable or reading.is_small_talk:
        return Plan(call=None)
    ranked = candidates(reading, tools, gathered)
    owed: frozenset[str] = frozenset()
    for goal in _goals(ranked):
        # A tool that answers less is not called in place of one that clearly was meant.
        if not owed <= goal.answered:
            continue
        step = _towards(goal, reading, tools, gathered)
        if step is not None:
            return Plan(call=step)
        if goal.is_evident:
            owed |= goal.answered - GENERIC_STEMS
    return Plan(call=None, near=ranked[0] if ranked and ranked[0].is_evident else None)


def _goals(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Return the first few, and whatever else only lacks data: that may be had on the way."""
    return [
        candidate
        for position, candidate in enumerate(ranked)
        if position < GOAL_COUNT_MAX or candidate.filled.missing_data
    ]


def _continued(reading: Reading, tools: Sequence[ToolSpec], gathered: Gathered) -> Plan:
    if gathered.results[-1].is_error:
        return Plan(call=None)
    index = ToolIndex(tools)
    called = {result.tool for result in gathered.results}
    remaining = _remaining(reading, index, called)
    if not remaining:
        return _again(reading, tools, gathered)
    ranked = candidates(reading, tools, gathered, remaining=remaining)
    for goal in _goals(ranked):
        if goal.tool.name in called or not goal.answered - GENERIC_STEMS:
            continue
        if goal.support < REMAINING_SUPPORT_MIN:
            continue
        step = _towards(goal, reading, tools, gathered)
        if step is not None and _is_new(step, gathered):
            return Plan(call=step)
    return _again(reading, tools, gathered)


def _remaining(reading: Reading, index: ToolIndex, called: set[str]) -> frozenset[str]:
    """Return the stems of the request that no called tool's text answers."""
    known = [text.gist for text in index.texts if text.spec.name in called]
    return frozenset(
        part
        for part in reading.content
        if not any(part in gist or not gist.isdisjoint(concepts(part)) for gist in known)
    )


def _again(reading: Reading, tools: Sequence[ToolSpec], gathered: Gathered) -> Plan:
    """Call the last tool once more if the request names more things of the kind it took."""
    last = gathered.results[-1]
    spec = next((tool for tool in tools if tool.name == last.tool), None)
    given = {str(value) for result in gathered.results for value in result.arguments.values()}
    taken = [entity for entity in reading.entities if str(entity.value) in given]
    kinds = {entity.kind for entity in taken if entity.is_typed}
    left = [
        entity
        for entity in reading.entities
        if entity.kind in kinds and str(entity.value) not in given
    ]
    if spec is None or not left:
        return Plan(call=None)
    rest = Reading(
        text=reading.text,
        entities=tuple(entity for entity in reading.entities if entity not in taken),
        prose=reading.prose,
    )
    for candidate in candidates(rest, [spec], Gathered()):
        uses_left = any(entity in left for entity in candidate.filled.used)
        if candidate.is_callable and uses_left and _is_new(candidate, gathered):
            return Plan(call=candidate)
    return Plan(call=None)


def _towards(
    goal: Candidate,
    reading: Reading,
    tools: Sequence[ToolSpec],
    gathered: Gathered,
) -> Candidate | None:
    """Return the first call on the way to `goal`: itself, or what yields the data it lacks."""
    if goal.is_callable:
        return goal if _is_new(goal, gathered) else None
    if not goal.is_evident or not goal.filled.missing_data or goal.tool.is_destructive:
        return None
    for media_types in goal.filled.missing_data:
        step = _provider(media_types, reading, tools, gathered, frozenset({goal.tool.name}), 1)
        if step is not None:
            return step
    return None


def _provider(
    media_types: frozenset[str],
    reading: Reading,
    tools: Sequence[ToolSpec],
    gathered: Gathered,
    passed: frozenset[str],
    depth: int,
) -> Candidate | None:
    """Return the first call on the way to data of one of these media types."""
    makers = [
        tool
        for tool in tools
        if tool.name not in passed and not tool.is_destructive and _yields(tool, media_types)
    ]
    found = [
        candidate
        for maker in makers
        for candidate in candidates(reading, [maker], gathered) or _bare(reading, maker, gathered)
        if candidate.is_allowed
    ]
    ready = [
        candidate
        for candidate in found
        if candidate.filled.is_complete and _is_new(candidate, gathered) and _is_fed(candidate)
    ]
    if ready:
        return max(ready, key=lambda candidate: candidate.score)
    if depth >= CHAIN_LENGTH_MAX:
        return None
    for candidate in found:
        for lacking in candidate.filled.missing_data:
            step = _provider(
                lacking, reading, tools, gathered, passed | {candidate.tool.name}, depth + 1
            )
            if step is not None:
                return step
    return None


def _bare(reading: Reading, tool: ToolSpec, gathered: Gathered) -> list[Candidate]:
    """Fill a tool that shares no word with the request: a step on the way needs none."""
    named = Reading(
        text=reading.text, entities=reading.entities, prose=f"{reading.prose} {tool.name}"
    )
    return candidates(named, [tool], gathered)


def _yields(tool: ToolSpec, media_types: frozenset[str]) -> bool:
    if tool.produces:
        return any(
            matches_media_type(made, media_types) or ("*" in made and _covers(made, media_types))
            for made in tool.produces
        )
    # What does not say what it makes may make anything, if it takes an address.
    properties = tool.parameters.get("properties")
    rules = list(properties.values()) if isinstance(properties, Mapping) else []
    return any(isinstance(rule, Mapping) and rule.get("format") == "uri" for rule in rules)


def _covers(made: str, media_types: frozenset[str]) -> bool:
    return any(matches_media_type(wanted, frozenset({made})) for wanted in media_types)


def _is_fed(candidate: Candidate) -> bool:
    """It is given data or an address; what makes something from nothing is no step of a chain."""
    return any(entity.is_typed for entity in candidate.filled.used) or any(
        str(value).startswith("artifact:") for value in candidate.filled.arguments.values()
    )


def _is_new(candidate: Candidate, gathered: Gathered) -> bool:
    return not gathered.has_called(candidate.tool.name, candidate.filled.arguments)
