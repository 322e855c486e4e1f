"""Which tools' texts fit a request, by BM25 over three fields.

The name of a tool says most, its description less, the names and descriptions of its parameters
least: their terms count three times, twice and once.

Reference: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
2009, section 3.6 (several weighted fields).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.words import terms

__all__ = ["ToolIndex", "ToolText"]

NAME_WEIGHT: Final = 3
DESCRIPTION_WEIGHT: Final = 2
PARAMETERS_WEIGHT: Final = 1

SATURATION: Final = 1.2
"""BM25's k1: how soon a repeated term stops counting more."""

LENGTH_EFFECT: Final = 0.5
"""BM25's b: how much a long text is held against a tool."""

CONCEPT_WEIGHT: Final = 0.5
"""Of a match by concept beside one by word."""

DESCRIPTION_LENGTH_MAX: Final = 1_500
"""Characters of a description that are read; what follows is manual, not description."""


@dataclass(frozen=True, slots=True)
class ToolText:
    """The terms of one tool."""

    spec: ToolSpec
    name: frozenset[str]
    gist: frozenset[str]
    """Terms of the name and of the description's first sentence."""
    counts: Mapping[str, int]
    """Of all fields, weighted."""
    length: int


class ToolIndex:
    """The texts of a list of tools, made once a request.

    Args:
        tools: In the order that settles ties.
    """

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self.texts = tuple(_tool_text(tool) for tool in tools)
        self._document_counts = Counter(term for text in self.texts for term in text.counts)
        lengths = [text.length for text in self.texts]
        self._length_mean = max(1.0, sum(lengths) / max(1, len(lengths)))

    def rarity(self, term: str) -> float:
        """Return BM25's inverse document frequency of a term; never negative."""
        count = self._document_counts[term]
        return math.log(1.0 + (len(self.texts) - count + 0.5) / (count + 0.5))

    def score(self, text: ToolText, query: Iterable[str]) -> float:
        """Return how well one tool's text fits the terms of a query."""
        total = 0.0
        stretch = 1.0 - LENGTH_EFFECT + LENGTH_EFFECT * text.length / self._length_mean
        for term in dict.fromkeys(query):
            count = text.counts.get(term, 0)
            if count:
                weight = CONCEPT_WEIGHT if term.startswith("~") else 1.0
                gain = count * (SATURATION + 1.0) / (count + SATURATION * stretch)
                total += weight * self.rarity(term) * gain
        return total

    def ranked(self, query: Sequence[str]) -> list[tuple[float, ToolText]]:
        """Return the tools that share a term with the query, best first."""
        scored = [(self.score(text, query), text) for text in self.texts]
        return sorted(
            (pair for pair in scored if pair[0] > 0.0), key=lambda pair: pair[0], reverse=True
        )


def _tool_text(tool: ToolSpec) -> ToolText:
    name = terms(tool.name)
    description = tool.description[:DESCRIPTION_LENGTH_MAX]
    described = terms(description)
    parameters = terms(" ".join(_parameter_texts(tool.parameters)))
    counts: Counter[str] = Counter()
    for weight, field in (
        (NAME_WEIGHT, name),
        (DESCRIPTION_WEIGHT, described),
        (PARAMETERS_WEIGHT, parameters),
    ):
        for term in field:
            counts[term] += weight
    first_sentence = description.strip().split(". ")[0].split("\n")[0]
    return ToolText(
        spec=tool,
        name=frozenset(name),
        gist=frozenset(name) | frozenset(terms(first_sentence)),
        counts=counts,
        length=sum(counts.values()),
    )


def _parameter_texts(schema: Mapping[str, Any]) -> list[str]:
    properties = schema.get("properties")
    texts: list[str] = []
    if isinstance(properties, Mapping):
        for name, rules in properties.items():
            texts.append(str(name))
            if isinstance(rules, Mapping):
                texts.append(str(rules.get("description", ""))[:DESCRIPTION_LENGTH_MAX])
                choices = rules.get("enum")
                if isinstance(choices, list | tuple):
                    texts.append(" ".join(str(choice) for choice in choices[:50]))
    return texts
