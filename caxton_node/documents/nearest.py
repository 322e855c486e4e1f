"""What somebody probably meant to write."""

import difflib
from collections.abc import Iterable
from typing import Final

__all__ = ["nearest"]

WORD_LENGTH_MAX: Final = 64
"""Comparing takes quadratic time, and nobody mistypes a longer word."""

_LIKENESS_MIN: Final = 0.6


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `word`, or None where none is like it."""
    if len(word) > WORD_LENGTH_MAX:
        return None
    spelled = {_plain(candidate): candidate for candidate in sorted(candidates)}
    close = difflib.get_close_matches(_plain(word), spelled, n=1, cutoff=_LIKENESS_MIN)
    return spelled[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
