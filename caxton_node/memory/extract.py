"""Conclusions from what was said, by rules, for nodes without a model. Pure.

It takes sentences as they stand and only those that state something: never a question, never an
order, never a guess. Where a sentence gives an attribute of somebody a value (*my name is …*, *I
live in …*), the attribute is named, so that a later value replaces this one.
"""

import re
from dataclasses import dataclass
from typing import Final

from caxton_node.memory.records import Kind, NewFact, Source

__all__ = ["facts_in", "is_statement", "sentences", "solution_in"]

SENTENCES_MAX: Final = 50
SENTENCE_LENGTH_MAX: Final = 400
SUBJECT_WORDS_MAX: Final = 6

_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:\.(?=\S)[^.!?\n]*)*[.!?]?")

_REMEMBER: Final = re.compile(
    r"^(?:please\s+)?(?:remember|note|keep in mind|don't forget)(?:\s+that)?[:,]?\s+(?P<what>.+)$",
    re.IGNORECASE,
)
_MINE: Final = re.compile(
    r"^(?:and\s+|so\s+|also\s+)?my\s+(?P<attribute>[\w' -]{2,40}?)"
    r"\s+(?:is|are|was)\s+(?P<value>.+)$",
    re.IGNORECASE,
)
_LIKING: Final = re.compile(
    r"^i(?:'d| would)?\s+(?:really |always |never |usually |much )?"
    r"(?:like|love|prefer|hate|dislike|enjoy|want|need|don't like|can't stand)\s+.+$",
    re.IGNORECASE,
)
_LIFE: Final = (
    ("name", re.compile(r"^(?:i am called|i'm called|call me)\s+.+$", re.IGNORECASE)),
    ("home", re.compile(r"^i\s+(?:now\s+)?(?:live|moved)\s+(?:in|to|at)\s+.+$", re.IGNORECASE)),
    ("work", re.compile(r"^i\s+(?:now\s+)?work\s+(?:at|for|as|in)\s+.+$", re.IGNORECASE)),
)
_OWN: Final = re.compile(r"^(?:i|we|i'm|we're|i've|we've|our)\s+.+$", re.IGNORECASE)
_STATED: Final = re.compile(
    r"^(?P<subject>(?:the|our|a|an)?\s*[\w'./ -]{2,60}?)\s+"
    r"(?P<verb>is|are|was|were|has|have|uses|use|runs|costs|lives|works|belongs|starts|ends|"
    r"closes|opens|contains|needs|moved|became|prefers|likes|knows|owns)\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(r"^(?:now\s+)?(?:in|at|on)\s", re.IGNORECASE)
_EMPTY_SUBJECTS: Final = frozenset(
    re.findall(
        r"\w+",
        "it this that there these those he she they which what who how why when where if as so",
    )
)
_FAILURE: Final = re.compile(
    r"\b(?:errors?|exceptions?|fails?|failed|broken|crash(?:es|ed)?|does(?:n't| not) work)\b",
    re.IGNORECASE,
)
_ORDERS: Final = re.compile(
    r"^(?:please|can you|could you|would you|will you|tell|show|give|list|find|analy[sz]e|count|"
    r"write|make|explain|compute|calculate|what|who|how|why|when|where|which|is|are|do|does|did)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Found:
    entity: str
    type: str
    text: str
    kind: Kind
    attribute: str = ""


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its mark, at most fifty."""
    found = (" ".join(match.group().split()) for match in _SENTENCE.finditer(text))
    return [one for one in found if 3 <= len(one) <= SENTENCE_LENGTH_MAX][:SENTENCES_MAX]


def is_statement(sentence: str) -> bool:
    """Whether a sentence states something, instead of asking or ordering."""
    return not sentence.endswith("?") and (
        _REMEMBER.match(sentence) is not None or _ORDERS.match(sentence) is None
    )


def facts_in(text: str, *, speaker: str, source: Source, context: str = "") -> list[NewFact]:
    """Return what a text states.

    Args:
        text: What was said.
        speaker: Who said it: *my* and *I* are about them.
        source: Where it was said.
        context: What was said before.
    """
    found = [_read(one, speaker) for one in sentences(text) if is_statement(one)]
    return [
        NewFact(
            entity=one.entity,
            type=one.type,
            text=one.text,
            kind=one.kind,
            attribute=one.attribute,
            context=context,
            confidence=0.8,
            source=source,
        )
        for one in found
        if one is not None
    ]


def _read(sentence: str, speaker: str) -> _Found | None:
    told = _REMEMBER.match(sentence)
    if told is not None:
        inner = told["what"].strip()
        known = _read(inner, speaker)
        return known or _Found(speaker, "person", inner, Kind.NOTE)
    plain = sentence.rstrip(".! ")
    mine = _MINE.match(plain)
    if mine is not None:
        attribute = mine["attribute"].strip().casefold()
        return _Found(speaker, "person", f"{speaker}: {plain}", Kind.FACT, attribute)
    for attribute, pattern in _LIFE:
        if pattern.match(plain):
            return _Found(speaker, "person", f"{speaker}: {plain}", Kind.FACT, attribute)
    if _LIKING.match(plain):
        return _Found(speaker, "person", f"{speaker}: {plain}", Kind.PREFERENCE)
    if _OWN.match(plain):
        return _Found(speaker, "person", f"{speaker}: {plain}", Kind.FACT)
    return _stated(plain)


def _stated(sentence: str) -> _Found | None:
    match = _STATED.match(sentence)
    if match is None:
        return None
    words = match["subject"].split()
    if words and words[0].casefold() in {"the", "our", "a", "an"}:
        words = words[1:]
    if not words or len(words) > SUBJECT_WORDS_MAX or words[0].casefold() in _EMPTY_SUBJECTS:
        return None
    is_place = match["verb"].casefold() in {"is", "are"} and _PLACE.match(match["rest"])
    return _Found(" ".join(words), "thing", sentence, Kind.FACT, "place" if is_place else "")


def solution_in(question: str, answer: str, *, source: Source) -> NewFact | None:
    """Return an exchange about something that went wrong as one piece of knowledge."""
    if not answer or _FAILURE.search(question) is None:
        return None
    return NewFact(
        entity="known problems",
        type="collection",
        text=f"Problem: {question[:SENTENCE_LENGTH_MAX]}\nAnswer: {answer[:2_000]}",
        kind=Kind.SOLUTION,
        confidence=0.7,
        source=source,
    )
