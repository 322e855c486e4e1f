"""What the forms of an English word have in common.

*Commits*, *committed* and *commit* are one word to a reader of requests. A few suffixes are cut;
a wrong cut does little harm, because the words of tools are cut the same way.

Reference: a reduced form of Porter, "An algorithm for suffix stripping", 1980.
"""

import functools
import re
from typing import Final

__all__ = ["stem", "stem_set", "word_set"]


STEM_COUNT_MAX: Final = 20_000
"""Stems that are remembered; the texts of tools say the same words again and again."""


@functools.lru_cache(maxsize=STEM_COUNT_MAX)
def stem(word: str) -> str:
    """Return the stem of a word in lower case."""
    if len(word) <= 3 or not word.isascii():
        return word
    for suffix, rest in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch")):
        if word.endswith(suffix) and len(word) > len(suffix) + 1:
            return word[: -len(suffix)] + rest
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ing", "ed"):
        root = word[: -len(suffix)]
        if word.endswith(suffix) and len(root) >= 3 and re.search("[aeiouy]", root):
            word = root
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def stem_set(words: str) -> frozenset[str]:
    """Return the stems of words separated by blanks."""
    return frozenset(stem(word) for word in words.split())


def word_set(words: str) -> frozenset[str]:
    """Return words separated by blanks, as they are."""
    return frozenset(words.split())
