"""What a parameter wants, by its name, its format and its schema.

Names of parameters are conventions that people share: a `repo_path` is a path, a `tz` a time
zone, a `query` the words of a search. This module knows the conventions; `arguments` looks for
what answers them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from caxton_node.llm.offline.entities import Kind
from caxton_node.llm.offline.words import stem, stems

__all__ = ["Wanted", "wanted"]

Role = Literal["source", "target", ""]

_KINDS_BY_FORMAT: Final[Mapping[str, tuple[Kind, ...]]] = {
    "uri": ("url",),
    "uri-reference": ("url",),
    "iri": ("url",),
    "url": ("url",),
    "email": ("email",),
    "idn-email": ("email",),
    "date": ("date",),
    "date-time": ("datetime", "date"),
    "time": ("time",),
    "artifact": ("artifact",),
}

_KINDS_BY_WORDS: Final[tuple[tuple[str, tuple[Kind, ...]], ...]] = (
    ("url uri link href endpoint website webpage", ("url",)),
    ("email mail recipient", ("email",)),
    ("timezone tz zone", ("timezone",)),
    ("timestamp datetime since until", ("datetime", "date")),
    ("date day deadline due", ("date", "datetime")),
    ("time", ("time", "datetime")),
    ("sql statement", ("sql",)),
    ("pattern glob regex mask wildcard", ("glob", "quoted")),
    ("branch tag", ("identifier", "revision", "quoted")),
    ("revision commit sha ref rev hash target", ("revision", "identifier", "quoted")),
    (
        "path file filename filepath dir directory folder source destination repo repository src "
        "dst dest root location",
        ("path",),
    ),
    ("code script snippet", ("code",)),
    ("csv", ("csv",)),
    ("json", ("json",)),
)

_FREE: Final = frozenset(
    stem(word)
    for word in (
        "text message content body input string thought prompt note comment phrase sentence "
        "question query q search keyword keywords term terms topic subject expression data "
        "value description summary title"
    ).split()
)
_ABOUT: Final = frozenset(
    stem(word) for word in "query q search keyword keywords term terms topic subject".split()
)
_NAMED: Final = frozenset(stem(word) for word in "name names title label id key".split())
_SOURCE: Final = frozenset(
    stem(word) for word in "source from src origin old start first begin base".split()
)
_TARGET: Final = frozenset(
    stem(word) for word in "target to dest destination dst new end last".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One parameter's wishes."""

    words: tuple[str, ...]
    """Stems of its name."""
    kinds: tuple[Kind, ...] = ()
    """Kinds of entities that answer it, best first."""
    is_free: bool = False
    """It takes words as they come."""
    is_about: bool = False
    """It takes what a search is about."""
    is_name: bool = False
    """It takes what something is called."""
    role: Role = ""
    """Which of two things of one kind it takes."""


def wanted(name: str, schema: Mapping[str, Any]) -> Wanted:
    """Read a parameter's name and format."""
    words = tuple(stems(name))
    known = frozenset(words)
    form = schema.get("format")
    kinds = _KINDS_BY_FORMAT.get(form, ()) if isinstance(form, str) else ()
    if not kinds:
        kinds = next((found for group, found in _KINDS if not group.isdisjoint(known)), ())
    is_typed_only = bool(kinds) and isinstance(form, str) and form in _KINDS_BY_FORMAT
    return Wanted(
        words=words,
        kinds=kinds,
        is_free=not is_typed_only and not _FREE.isdisjoint(known) and "path" not in kinds,
        is_about=not _ABOUT.isdisjoint(known),
        is_name=not _NAMED.isdisjoint(known),
        role="source" if known & _SOURCE else "target" if known & _TARGET else "",
    )


_KINDS: Final = tuple(
    (frozenset(stem(word) for word in group.split()), found) for group, found in _KINDS_BY_WORDS
)
