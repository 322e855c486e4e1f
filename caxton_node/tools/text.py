"""Operations on plain text. Every pattern here is ours and takes linear time on any text.

Pure. A summary is *extractive*: sentences of the text itself, chosen by how many of its frequent
words they hold, in their own order (Luhn, "The Automatic Creation of Literature Abstracts",
IBM Journal, 1958).
"""

import re
from collections import Counter
from typing import Any, Final

__all__ = ["extract_emails", "extract_numbers", "extract_urls", "frequency", "summarize", "words"]

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
# Possessive quantifiers never give back what they took: no text makes them try twice.
_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"
    r"(?![A-Za-z0-9-])"
)
_URL: Final = re.compile(r"https?://[^\s<>\"'`{}|\\^\[\]]{1,2000}+", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?(?:[eE][+-]?\d{1,3})?(?!\w)", re.ASCII
)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])[\"'”’)]?\s+|\n{2,}")

STOP_WORDS: Final = frozenset(
    _WORD.findall(
        "a about after all also an and any are as at be been but by can could did do does for "
        "from had has have he her his how i if in into is it its may more most no not of on one "
        "or other our out over she so some such than that the their them then there these they "
        "this to up was we were what when which who will with would you your"
    )
)
"""English words that say nothing about the subject."""


def words(text: str) -> list[str]:
    """Return the words of a text, in order."""
    return _WORD.findall(text)


def frequency(text: str) -> Counter[str]:
    """Count the words of a text, in lower case and without the most common ones of English."""
    return Counter(
        word
        for word in map(str.lower, words(text))
        if word not in STOP_WORDS and len(word) > 1 and not word.isdigit()
    )


def extract_emails(text: str) -> list[str]:
    """Return the e-mail addresses, each once, in order."""
    return list(dict.fromkeys(_EMAIL.findall(text)))


def extract_urls(text: str) -> list[str]:
    """Return the web addresses, each once, in order, without the punctuation that follows one."""
    found = (match.group().rstrip(".,;:!?)") for match in _URL.finditer(text))
    return list(dict.fromkeys(found))


def extract_numbers(text: str) -> list[float | int]:
    """Return the numbers in order. `1,234.5` is one number; a whole one is an integer."""
    numbers: list[float | int] = []
    for match in _NUMBER.finditer(text):
        spelled = match.group().replace(",", "")
        if len(spelled) > 40:
            continue
        number = float(spelled)
        if spelled.lstrip("+-").isdigit():
            numbers.append(int(spelled))
        elif abs(number) != float("inf"):
            numbers.append(number)
    return numbers


def summarize(text: str, sentence_count: int) -> list[str]:
    """Return the most telling sentences of a text, in their own order.

    Args:
        text: Any length; sentences end with `.`, `!`, `?` or an empty line.
        sentence_count: How many at most.
    """
    sentences = [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]
    if len(sentences) <= sentence_count:
        return sentences
    weights = frequency(text)

    def score(index: int) -> tuple[float, int]:
        own = [word.lower() for word in words(sentences[index])]
        # A long sentence must not win by its length alone, nor one word by itself.
        value: Any = sum(weights[word] for word in own) / (len(own) + 3) if own else 0.0
        return -value, index

    chosen = sorted(range(len(sentences)), key=score)[:sentence_count]
    return [sentences[index] for index in sorted(chosen)]
