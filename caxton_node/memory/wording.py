"""Words of a text: for telling duplicates apart, for the word index and for asking it. Pure.

In the index every word carries the scope of its row. So the index has a list of rows for each
word of each scope: what others say is neither looked at nor counted, however common the word.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["TERMS_MAX", "digest_of", "fold", "match_expression", "shelved", "terms_of"]

TERMS_MAX: Final = 24
"""Different words of a question that are looked at."""

TERM_LENGTH_MAX: Final = 64

_WORD: Final = re.compile(r"[^\W_\u19b0-\u19c9\u1cf2\u1cf3]+", re.UNICODE)
"""As the index's tokenizer splits, for which some signs of New Tai Lue and Vedic are no letters:
what it splits once more would stand in the index without its scope."""

_ACCENTS: Final = re.compile("[\u0300-\u036f]")

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
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(normal.casefold().split()).rstrip(".!?;,: ")


def digest_of(text: str) -> bytes:
    """Return eight bytes that are equal for texts that say the same in the same words."""
    return hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def terms_of(question: str) -> tuple[str, ...]:
    """Return the telling words of a question in order, each once."""
    found = [
        word
        for word in _words_in(question)
        if word not in _STOP_WORDS and len(word) <= TERM_LENGTH_MAX
    ]
    return tuple(dict.fromkeys(found))[:TERMS_MAX]


def shelved(scope: int, text: str) -> str:
    """Return the words of a text as they stand in the index: each with its scope before it.

    The prefix is made of consonants and digits, so that stemming goes on as without it.
    """
    words = _words_in(text) if text else ()
    return f"s{scope}q" + f" s{scope}q".join(words) if words else ""


def match_expression(terms: Sequence[str], scopes: Sequence[int]) -> str:
    """Return an FTS5 expression: any of the terms, said in any of the scopes.

    Words are quoted, so that nothing in them is an operator.
    """
    assert terms, "a match without words is no match"
    assert scopes, "a match without a scope would find nothing"
    return " OR ".join(f'"s{scope}q{term}"' for term in terms for scope in scopes)


def _words_in(text: str) -> list[str]:
    """Return the words of a text without case and accents."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return _WORD.findall(text.casefold())
