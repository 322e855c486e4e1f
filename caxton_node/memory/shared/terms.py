"""Words as numbers, for engines that know vectors only: a sparse vector a text. Pure.

The weight of a word in a text is that of BM25; how rare it is, the engine knows. A word's number
is a hash of its stem. Stems are cut as by Harman's rules for English plurals, which harm no other
language.

Reference: Harman, "How effective is suffixing?", JASIS 42(1), 1991; Robertson and Zaragoza, "The
Probabilistic Relevance Framework", 2009, section 3.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["query_vector", "stem", "text_vector", "words_in"]

SATURATION: Final = 1.2
LENGTH_SHARE: Final = 0.75
LENGTH_MEAN: Final = 16.0
"""Words of a usual observation."""

SUBJECT_WEIGHT: Final = 2.0
CONTEXT_WEIGHT: Final = 0.5

WORDS_MAX: Final = 2_000
"""Of one text."""

_WORD: Final = re.compile(r"\w+", re.UNICODE)


def words_in(text: str) -> list[str]:
    """Return the stems of a text's words in order."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(each for each in plain if not unicodedata.combining(each))
    return [stem(word) for word in _WORD.findall(bare)[:WORDS_MAX]]


def stem(word: str) -> str:
    """Return a word without the ending of an English plural."""
    if len(word) > 3 and word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        return word[:-1]
    return word


def text_vector(subject: str, text: str, context: str) -> tuple[list[int], list[float]]:
    """Return the numbers of a text's words, ascending, and their weights."""
    counts: Counter[str] = Counter()
    length = 0
    for part, weight in ((subject, SUBJECT_WEIGHT), (text, 1.0), (context, CONTEXT_WEIGHT)):
        found = words_in(part)
        length += len(found)
        for word in found:
            counts[word] += weight  # type: ignore[assignment]  # weights are shares of a count
    scale = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length / LENGTH_MEAN)
    weights = {
        _number(word): count * (SATURATION + 1) / (count + scale) for word, count in counts.items()
    }
    return _sorted(weights.items())


def query_vector(terms: Sequence[str]) -> tuple[list[int], list[float]]:
    """Return the numbers of a question's words; each counts once."""
    stems = {word for term in terms for word in words_in(term)}
    return _sorted((_number(word), 1.0) for word in stems)


def _sorted(pairs: Iterable[tuple[int, float]]) -> tuple[list[int], list[float]]:
    ordered = sorted(dict(pairs).items())
    return [number for number, _ in ordered], [weight for _, weight in ordered]


def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest())
