"""Words of a text: for telling duplicates apart, and for asking the keyword index. Pure."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["TERMS_MAX", "digest_of", "fold", "match_expression", "terms_of"]

TERMS_MAX: Final = 24
"""Different words of a question that are looked at."""

TERM_LENGTH_MAX: Final = 64

_WORD: Final = re.compile(r"\w+", re.UNICODE)

_STOP_WORDS: Final = frozenset(
    _WORD.findall(
        """
        a about am an and any are as at be been but by can could did do does for from had has have
        he her him his how i if in into is it its just me my no not of on or our please she should
        so some tell than that the their them then there these they this those to us was we were
        what when where which who whom why will with would you your
        """
    )
)
"""English words that say nothing about the subject. Of other languages the common words are
recognised by how often they occur."""


def fold(text: str) -> str:
    """Return a text without the differences that do not make it another one."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(normal.split()).rstrip(".!?;,: ")


def digest_of(text: str) -> bytes:
    """Return eight bytes that are equal for texts that say the same in the same words."""
    return hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def terms_of(question: str) -> tuple[str, ...]:
    """Return the telling words of a question in order, each once."""
    found = [
        word
        for word in _WORD.findall(question.casefold())
        if word not in _STOP_WORDS and len(word) <= TERM_LENGTH_MAX
    ]
    return tuple(dict.fromkeys(found))[:TERMS_MAX]


def match_expression(terms: Sequence[str], shelves: Sequence[int]) -> str:
    """Return an FTS5 expression: any of the terms, on one of the shelves.

    Words are quoted, so that nothing in them is an operator.
    """
    assert terms, "a match without words is no match"
    assert shelves, "a match without a shelf would find nothing"
    words = " OR ".join(f'"{term}"' for term in terms)
    places = " OR ".join(f'"s{shelf}"' for shelf in shelves)
    return f"(shelf : ({places})) AND ({{subject text context}} : ({words}))"
