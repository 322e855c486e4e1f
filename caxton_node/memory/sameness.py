"""Whether two sentences say the same in slightly other words. Pure.

Vectors cannot tell: *the door is open* and *the door is closed* lie side by side. So the words
have to be the same, apart from their endings and from words that carry nothing; and whatever turns
a sentence around when it moves (names, numbers, prepositions, negations) has to come in the same
order. What passes both this and the comparison of vectors may be merged without losing anything.
"""

import re
from collections import Counter
from typing import Final

__all__ = ["says_the_same"]

_WORD: Final = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)?", re.UNICODE)

_EMPTY: Final = frozenset({"a", "also", "an", "just", "please", "really", "that", "the", "very"})

_TURNING: Final = frozenset(
    {
        "about", "above", "after", "and", "as", "at", "before", "below", "but", "by", "except",
        "for", "from", "if", "in", "into", "less", "more", "never", "no", "nor", "not", "of", "off",
        "on", "only", "or", "out", "over", "than", "then", "to", "under", "unless", "until", "up",
        "down", "when", "while", "with", "without",
    }
)  # fmt: skip

_ENDINGS: Final = ("ing", "ed", "es", "s")
_STEM_LENGTH_MIN: Final = 3


def says_the_same(one: str, other: str) -> bool:
    """Whether two sentences differ in nothing but endings, empty words and harmless order."""
    (words, anchors), (other_words, other_anchors) = _parts_of(one), _parts_of(other)
    return words == other_words and anchors == other_anchors


def _parts_of(text: str) -> tuple[Counter[str], list[str]]:
    """Return how often each stem occurs, and in order those that must not change places."""
    words: Counter[str] = Counter()
    anchors: list[str] = []
    for place, found in enumerate(_WORD.findall(text)):
        word = found.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        if word in _EMPTY:
            continue
        stem = _stem_of(word)
        words[stem] += 1
        is_name = place > 0 and found[:1].isupper()
        is_number = any(letter.isdigit() for letter in word)
        if is_name or is_number or word in _TURNING or word.endswith("n't"):
            anchors.append(stem)
    return words, anchors


def _stem_of(word: str) -> str:
    if any(letter.isdigit() for letter in word):
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_LENGTH_MIN:
            return word.removesuffix(ending).rstrip("e")
    return word.rstrip("e") if len(word) > _STEM_LENGTH_MIN else word
