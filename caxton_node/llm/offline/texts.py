"""Texts of a request that may answer a parameter, best first.

What is quoted is meant literally. A parameter that takes words as they come also takes data that
stand in the request, what follows a colon, and what follows the tool's verb. One that takes a
name takes what is called so, or the word after its own noun.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.llm.offline import phrases
from caxton_node.llm.offline.entities import Entity, extract
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem_set
from caxton_node.llm.offline.wanted import Wanted
from caxton_node.llm.offline.words import GENERIC_STEMS, concepts

__all__ = ["Text", "texts_for"]

DESCRIPTION_LENGTH_MAX: Final = 200
"""Characters of a parameter's description that are searched for its noun."""

_ABSTRACT: Final = stem_set("name names which where what when that with from must instead used")


@dataclass(frozen=True, slots=True)
class Text:
    """One candidate."""

    value: str
    """May be empty, when there is no such text."""
    sure: float
    entities: tuple[Entity, ...] = ()
    """What it uses up."""


def texts_for(
    rules: Mapping[str, Any],
    wish: Wanted,
    reading: Reading,
    free: Callable[..., list[Entity]],
    tool_words: frozenset[str],
) -> list[Text]:
    """Return the candidates for one parameter.

    Args:
        rules: Its schema.
        wish: What it wants.
        reading: The request.
        free: Returns the entities of the given kinds that no argument has yet.
        tool_words: Stems and concepts of the tool's name.
    """
    if wish.is_manner:
        return []
    quoted = [one for one in free("quoted") if wish.is_free or _could_be(one, wish)]
    found = [Text(str(one.value), 0.9, (one,)) for one in quoted]
    if wish.is_name:
        found.append(_word(phrases.named(reading), 0.9, free))
    if wish.is_free:
        return found + _free_texts(wish, reading, free, tool_words)
    if wish.words and not wish.kinds:
        return found + _names(rules, wish, reading, free)
    return found


def _free_texts(
    wish: Wanted,
    reading: Reading,
    free: Callable[..., list[Entity]],
    tool_words: frozenset[str],
) -> list[Text]:
    verbs = frozenset(
        part
        for part in reading.content
        if part in tool_words or not tool_words.isdisjoint(concepts(part))
    )
    return [
        *(Text(str(one.value), 0.9, (one,)) for one in free("code", "csv", "sql")),
        *(Text(one.text, 0.8, (one,)) for one in free("json")),
        Text(phrases.after_colon(reading), 0.9),
        Text(phrases.about(reading) if wish.is_about else "", 0.7),
        Text(phrases.after_verb(reading, verbs), 0.7),
    ]


def _names(
    rules: Mapping[str, Any], wish: Wanted, reading: Reading, free: Callable[..., list[Entity]]
) -> list[Text]:
    own = frozenset(wish.words) - {"name"}
    # *Agent billing* answers a `receiver` that is described as the name of an agent.
    described = stem_set(_described_words(rules)) - GENERIC_STEMS - _ABSTRACT
    return [
        _word(phrases.after_word(reading, own), 0.7, free),
        _word(phrases.after_word(reading, described), 0.6, free),
        # A city was read as its time zone; here it is wanted by name.
        *(
            Text(one.text if one.kind == "timezone" else str(one.value), 0.6, (one,))
            for one in free("identifier", "name", "timezone")
        ),
    ]


def _word(text: str, sure: float, free: Callable[..., list[Entity]]) -> Text:
    """Return a word of the request with the things that it is."""
    same = [one for one in free("name", "identifier", "revision", "path") if one.value == text]
    return Text(text, sure, tuple(same))


def _could_be(entity: Entity, wish: Wanted) -> bool:
    """Tell whether a quotation is of the kind that a parameter wants, if it wants one."""
    if not wish.kinds or {"path", "quoted", "identifier"}.intersection(wish.kinds):
        return True
    inner = extract(str(entity.value))
    return len(inner) == 1 and inner[0].kind in wish.kinds and inner[0].text == entity.value


def _described_words(rules: Mapping[str, Any]) -> str:
    """Return the longer words of the first sentence of a description."""
    first = str(rules.get("description", ""))[:DESCRIPTION_LENGTH_MAX].split(".")[0]
    return " ".join(re.findall(r"[a-z]{4,}", first.casefold()))
