"""What is never remembered: secrets, by the patterns of the operator. Pure."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["DEFAULT_PATTERNS", "Exclusion"]

DEFAULT_PATTERNS: Final = (
    r"pass(word|phrase|wd)",
    r"api[ _-]?key",
    r"secret",
    r"private[ _-]?key",
    r"access[ _-]?token",
    r"\bsk-[A-Za-z0-9_-]{16,}",
    r"-----BEGIN [A-Z ]+-----",
    r"\b\d(?:[ -]?\d){12,18}\b",
)
"""Words that announce a secret, forms that are one, and numbers as long as those of cards."""


class Exclusion:
    """Tells whether a text must not be stored.

    Args:
        patterns: Regular expressions, in any case, found anywhere in a text.

    Raises:
        ValueError: A pattern is no regular expression.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_PATTERNS) -> None:
        self._patterns = []
        for pattern in patterns:
            try:
                self._patterns.append(re.compile(pattern, re.IGNORECASE))
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error

    def matches(self, *texts: str) -> bool:
        """Whether any of the texts holds what must not be stored."""
        return any(pattern.search(text) for pattern in self._patterns for text in texts)
