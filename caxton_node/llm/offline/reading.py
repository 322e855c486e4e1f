"""A request as the offline provider reads it: what it names, which words carry it, what it is.

Also what it is not: small talk and questions about concepts call for a model, not for a tool,
and what somebody says not to do is not asked for.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from caxton_node.llm.offline.entities import TEXT_LENGTH_MAX, Entity, extract, is_directory
from caxton_node.llm.offline.stemming import stem_set
from caxton_node.llm.offline.words import content_stems, stems, terms

__all__ = ["Reading", "read"]

_NEGATED: Final = re.compile(
    r"\b(?:don['’]?t|do not|never|without|rather than|instead of)\s[^.;!?\n]{0,300}?"
    r"(?=[.;!?\n,]|\bbut\b|\band then\b|$)",
    re.IGNORECASE,
)
_PLEASANTRY: Final = re.compile(
    r"\b(?:(?:tell|show|give) me )?what (?:you|we|I) (?:can )?(?:find|see|get|think|have)\b"
    r"|\b(?:I|we) (?:have|got|found|received|created|made|wrote)\b",
    re.IGNORECASE,
)
"""Verbs in these ask for nothing."""

_CONCEPTUAL: Final = re.compile(
    r"^\W*(?:(?:please|can you|could you|hi|hello|hey)[\s,]+)*"
    r"(?:how (?:do|does|did|can|could|should|would|come|is|are|was)\b(?! many| much)|why\b"
    r"|explain\b|define\b|describe (?:how|why|what)\b|who (?:is|was|are|were|wrote|invented|made)\b"
    r"|what (?:is|are|was|were|'s) (?:an? |the (?:capital|meaning|point|purpose|concept)\b)"
    r"|what['’]?s an? |what does\b.{1,60}\b(?:do|mean)\b|what do you (?:think|mean)\b"
    r"|should i\b|would you\b|do you\b|are you\b|have you\b|tell me (?:a|about) "
    r"|what (?:can|could|would|will) you\b|who are you|what are you|what['’]?s your\b"
    r"|what is your\b)",
    re.IGNORECASE,
)
_STATEMENT: Final = re.compile(
    r"^\W*(?:I|we|my|our|he|she|they|it|that)\b(?!['’]d like|\s+(?:need|want|would|wish|have to"
    r"|must|should like))(?![^?]*\?)",
    re.IGNORECASE,
)
"""It tells something and asks for nothing."""

_SENTENCE: Final = re.compile(r"(?<=[.!?;\n])\s+")

_SMALL_TALK: Final = stem_set(
    "morning afternoon evening night day today tonight tomorrow weekend nice great good "
    "cool awesome perfect lovely bye goodbye cheers welcome sorry appreciate appreciated "
    "joke poem story sing song feel feeling bored fun funny well wonderful amazing sure "
    "fine right favourite favorite think opinion love hate happy sad much really later soon "
    "see meet there lot very job work doing bot robot assistant human never mind worry "
    "problem yes no"
)
_SIGNS: Final = (
    (re.compile(r"\d\s?\+\s?-?\d"), "sum"),
    (re.compile(r"\d\s?[*×]\s?-?\d"), "multiply"),
    (re.compile(r"\d\s[/÷]\s-?\d"), "divide"),
    (re.compile(r"\d\s[-−]\s\d"), "subtract"),
)

_CLAUSE: Final = re.compile(r"[.;!?\n]|\b(?:and|then|after that|afterwards)\b", re.IGNORECASE)
_LEADING: Final = stem_set(
    "please can could would you kindly i want need to like d ll let s us me now just go "
    "ahead then first next finally also we should help the a an my"
)


@dataclass(frozen=True)
class Reading:
    """One request, read once."""

    text: str
    entities: tuple[Entity, ...]
    prose: str
    """The text with what it names literally, and what it says not to do, blanked out, and with
    signs between numbers as words."""

    @cached_property
    def content(self) -> tuple[str, ...]:
        """Stems that carry the request, in order."""
        return tuple(content_stems(self.prose))

    @cached_property
    def query(self) -> tuple[str, ...]:
        """Terms to rank tools by: words, their concepts, and the kinds of what is named."""
        return tuple(dict.fromkeys([*terms(self.prose), *self.hints]))

    @cached_property
    def hints(self) -> tuple[str, ...]:
        """Terms for the kinds of what is named; nobody said them."""
        words = [word for entity in self.entities for word in _kind_words(entity)]
        return tuple(dict.fromkeys(terms(" ".join(words))))

    @cached_property
    def verbs(self) -> frozenset[str]:
        """Stems with which a clause begins: what is asked for in so many words."""
        found: set[str] = set()
        for clause in _CLAUSE.split(self.prose):
            words = stems(clause)
            while words and words[0] in _LEADING:
                del words[0]
            found.update(words[:1])
        return frozenset(found)

    @property
    def is_unreadable(self) -> bool:
        """There is no word in it."""
        return not any(char.isalnum() for char in self.text)

    @cached_property
    def is_small_talk(self) -> bool:
        """It asks for company, an opinion or an explanation, which no tool gives."""
        # A country is a time zone too, but not in *the capital of France*.
        if any(
            (entity.is_typed and entity.kind != "timezone") or entity.kind in {"number", "code"}
            for entity in self.entities
        ):
            return False
        sentences = [part for part in _SENTENCE.split(self.text) if content_stems(part)]
        if sentences and all(
            _CONCEPTUAL.match(part) or _STATEMENT.match(part) for part in sentences
        ):
            return True
        has_zone = any(entity.kind == "timezone" for entity in self.entities)
        return not has_zone and all(part in _SMALL_TALK for part in self.content)

    def names(self, word: str) -> bool:
        """Tell whether `word`, such as the name of a tool, stands in the text literally."""
        pattern = rf"(?<![\w-]){re.escape(word)}(?![\w-])"
        return re.search(pattern, self.text) is not None


def read(text: str) -> Reading:
    """Read a request, as far as its first `TEXT_LENGTH_MAX` characters. Never raises."""
    text = text[:TEXT_LENGTH_MAX]
    entities = extract(text)
    prose = list(text)
    for entity in entities:
        # Names may be part of what is said; addresses, data and quotations never are.
        if entity.kind not in {"name", "identifier"}:
            prose[entity.start : entity.end] = " " * (entity.end - entity.start)
    spoken = "".join(prose)
    for pattern in (_NEGATED, _PLEASANTRY):
        for match in pattern.finditer(spoken):
            spoken = _blanked(spoken, match)
            if pattern is _NEGATED:
                # What it says not to touch is not named for any tool.
                entities = tuple(
                    entity
                    for entity in entities
                    if entity.end <= match.start() or match.end() < entity.start
                )
    signs = [word for sign, word in _SIGNS if sign.search(text)]
    return Reading(text=text, entities=entities, prose=" ".join([spoken, *signs]))


def _blanked(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + " " * len(match[0]) + text[match.end() :]


def _kind_words(entity: Entity) -> tuple[str, ...]:
    suffix = ""
    if entity.kind in {"url", "path"}:
        last = str(entity.value).split("?")[0].rpartition("/")[2]
        suffix = last.rpartition(".")[2] if "." in last and len(last) < 100 else ""
    match entity.kind:
        case "url":
            return ("url", suffix)
        case "path":
            return ("directory",) if is_directory(str(entity.value)) else ("file", "path", suffix)
        case "csv" | "json" | "sql" | "timezone" | "email" | "time" | "date":
            return (entity.kind,)
        case "glob":
            return ("pattern",)
        case "revision":
            return ("commit", "revision")
        case _:
            return ()
