"""What a parameter wants, by its name, its format and its schema.

Names of parameters are conventions that people share: a `repo_path` is a path, a `tz` a time
zone, a `query` the words of a search. This module knows the conventions; `arguments` looks for
what answers them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from caxton_node.llm.offline.entities import Kind
from caxton_node.llm.offline.stemming import stem, stem_set
from caxton_node.llm.offline.words import stems

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
    ("path file filename filepath dir directory folder root repo repository", ("path",)),
    ("source src destination dst dest", ("path",)),
    ("code script snippet expression jmespath jsonpath xpath filter", ("code",)),
    ("csv", ("csv",)),
    ("json", ("json",)),
)

_FREE: Final = stem_set(
    "text message content body input string thought prompt note comment phrase sentence "
    "question query q search keyword keywords term terms topic subject expression data "
    "value description summary title"
)
_ABOUT: Final = stem_set("query q search keyword keywords term terms topic subject")
_NAMED: Final = stem_set("name names title label id key")
_MANNER: Final = stem_set("type kind mode format style order")
"""A `branch_type` is no branch."""

_SOURCE: Final = stem_set("source from src origin old start first begin base")
_TARGET: Final = stem_set("target to dest destination dst new end last")


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
    is_manner: bool = False
    """It takes one of a few words that are known beforehand, so never the request's own."""
    choices: tuple[str, ...] = ()
    """Words that its description quotes, where the schema has no `enum`."""


def wanted(name: str, schema: Mapping[str, Any]) -> Wanted:
    """Read a parameter's name and format."""
    words = tuple(stems(name))
    known = frozenset(words)
    form = schema.get("format")
    kinds = _KINDS_BY_FORMAT.get(form, ()) if isinstance(form, str) else ()
    if not kinds:
        kinds = next((found for group, found in _KINDS if not group.isdisjoint(known)), ())
    is_manner = bool(words) and words[-1] in _MANNER
    if is_manner:
        kinds = ()
    is_typed_only = bool(kinds) and isinstance(form, str) and form in _KINDS_BY_FORMAT
    return Wanted(
        words=words,
        kinds=kinds,
        is_free=not is_typed_only and not _FREE.isdisjoint(known) and "path" not in kinds,
        is_about=not _ABOUT.isdisjoint(known),
        is_name=not _NAMED.isdisjoint(known),
        is_manner=is_manner,
        choices=_quoted_choices(schema) if is_manner else (),
        role="source" if known & _SOURCE else "target" if known & _TARGET else "",
    )


def _quoted_choices(schema: Mapping[str, Any]) -> tuple[str, ...]:
    found = _QUOTED_WORD.findall(str(schema.get("description", ""))[:2_000])
    return tuple(dict.fromkeys(found)) if len(set(found)) > 1 else ()


_QUOTED_WORD: Final = re.compile(r"['\"`]([\w-]{1,40})['\"`]")

_KINDS: Final = tuple(
    (frozenset(stem(word) for word in group.split()), found) for group, found in _KINDS_BY_WORDS
)
