"""Stretches of a request's own words that may serve as an argument.

They follow a colon, a verb or a preposition.
`Echo hello world` wants *hello world*; `search the docs for rate limits in /srv` wants *rate
limits*. Each function returns the words as they stand in the request, or nothing.
"""

import itertools
import re
from collections.abc import Collection
from typing import Final

from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem, word_set

__all__ = ["about", "after_colon", "after_verb", "after_word", "named"]

PHRASE_LENGTH_MAX: Final = 2_000

_COLON: Final = re.compile(r"(?<!\w):(?=\s)|(?<=[A-Za-z]):(?=\s)")
_ABOUT: Final = re.compile(
    r"\b(?:about|for|regarding|concerning|matching|containing|contains?|mention(?:s|ing)?"
    r"|with the word|on the topic of|related to|on)\s+",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    r"\b(?:named|called|titled|entitled|labelled|name(?:d)? is)\s+([\w@.+/-]{1,100})",
    re.IGNORECASE,
)
_NEXT_CLAUSE: Final = re.compile(
    r"[.;!?](?:\s|$)|,\s+(?:and|then|but)\b"
    r"|\s+(?:and then|then)\b|\s+(?:please|thanks|thank you)\W*$",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(
    r"^(?:(?:the|a|an|this|these|following|exact|word|words|phrase|message|text|string|sentence"
    r"|back|out|me|us|just|exactly|saying|that|says|to|of|all|any|my|our|about|for|on)\s+){1,4}",
    re.IGNORECASE,
)
_BEFORE_ENTITY: Final = re.compile(
    r"\s+(?:to|into|in|from|at|on|as|under|inside|within|of|using|with|through|via|and)"
    r"(?:\s+(?:the|a|an|my|our|file|folder|directory|repo|repository|column|url|page|timezone))"
    r"{0,3}\s*$",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W_][\w'’-]*")


def after_colon(reading: Reading) -> str:
    """Return what follows the first colon, to the end: `Echo this: …`."""
    match = _COLON.search(_without_data(reading))
    if match is None:
        return ""
    return _cleaned(reading.text[match.end() :], opening=None)


def after_verb(reading: Reading, words: Collection[str]) -> str:
    """Return what follows the first word of the request that is one of the stems `words`."""
    blanked = _without_data(reading)
    for match in _WORD.finditer(blanked):
        if stem(match[0].casefold()) in words:
            return _phrase(reading, blanked, match.end())
    return ""


def about(reading: Reading) -> str:
    """Return what follows the first *about*, *for*, *matching* and the like."""
    blanked = _without_data(reading)
    for match in _ABOUT.finditer(blanked):
        found = _phrase(reading, blanked, match.end())
        if found:
            return found
    return ""


def named(reading: Reading) -> str:
    """Return the word after *named* or *called*."""
    match = _NAMED.search(reading.text)
    return match[1].rstrip(".,;:") if match else ""


def after_word(reading: Reading, words: Collection[str]) -> str:
    """Return the one word that follows a noun which is one of the stems: *branch main*."""
    matches = list(_WORD.finditer(reading.text))
    for here, following in itertools.pairwise(matches):
        gap = reading.text[here.end() : following.start()]
        if stem(here[0].casefold()) in words and gap.strip() in {"", "'", '"', "`", "#"}:
            found = following[0]
            if stem(found.casefold()) not in words and found.casefold() not in _LINKS:
                rest = re.match(r"[\w@.+/-]{0,100}", reading.text[following.end() :])
                return (found + (rest[0] if rest else "")).rstrip(".,;:")
    return ""


_LINKS: Final = word_set(
    "in of for from to on at by with and or the a an is are that which as into named called "
    "please then if it this was has"
)


def _without_data(reading: Reading) -> str:
    """Blank typed things out, so that their punctuation is not taken for the sentence's."""
    chars = list(reading.text)
    for entity in reading.entities:
        if entity.is_typed or entity.kind == "code":
            chars[entity.start : entity.end] = "\x00" * (entity.end - entity.start)
    return "".join(chars)


def _phrase(reading: Reading, blanked: str, start: int) -> str:
    """Return the words from `start` to the next clause or to something of another kind."""
    rest = blanked[start:]
    ends = [match.start() for match in [_NEXT_CLAUSE.search(rest)] if match]
    data_at = rest.find("\x00")
    if data_at >= 0:
        before = _BEFORE_ENTITY.search(rest[:data_at])
        ends.append(before.start() if before else data_at)
    return _cleaned(reading.text[start : start + min(ends, default=len(rest))])


def _cleaned(text: str, *, opening: re.Pattern[str] | None = _OPENING) -> str:
    phrase = text.strip().strip(":,;").strip()
    if opening is not None:
        phrase = opening.sub("", phrase + " ").strip()
        phrase = phrase.rstrip("?!.,;: ").strip()
    if len(phrase) >= 2 and phrase[0] == phrase[-1] and phrase[0] in "\"'`":
        phrase = phrase[1:-1]
    return phrase[:PHRASE_LENGTH_MAX]
