"""Values from the environment in hand-written text: `${VAR}` and `${VAR:-default}`.

Every reference is replaced once; what was put in is never looked at again. `$${` writes a
literal `${`. Pure: the caller says which environment there is, and thereby which variables a
text may see.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from caxton_node.documents.document import Flaw

__all__ = ["expand", "expand_all", "is_reference"]

_REFERENCE: Final = re.compile(
    r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{"
)


def is_reference(text: str) -> bool:
    """Is `text` one reference to a variable and nothing else, without a default?"""
    match = _REFERENCE.fullmatch(text)
    return match is not None and match["name"] is not None and match["default"] is None


def expand(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[Flaw, ...]]:
    """Return `text` with its references replaced, and what was wrong with them.

    A variable that is set but empty takes the default, as in a shell.
    """
    flaws: list[Flaw] = []

    def value_of(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        name = match["name"]
        if name is None:
            flaws.append(
                Flaw(
                    "has `${` without a variable's name and a closing `}`",
                    "malformed_reference",
                    "Write `${NAME}` or `${NAME:-default}`, or `$${` for the characters `${`",
                )
            )
            return ""
        value = environment.get(name)
        if match["default"] is not None:
            return value or match["default"]
        if value is None:
            flaws.append(
                Flaw(
                    f"needs the environment variable {name[:100]}, which is not set",
                    "unset_variable",
                    "Set it for the node (agent files see what its setting `agents.environment` "
                    f"allows), or write a default: `${{{name[:100]}:-…}}`",
                )
            )
        return value or ""

    return _REFERENCE.sub(value_of, text), tuple(flaws)


def expand_all(value: Any, environment: Mapping[str, str]) -> tuple[Any, tuple[Flaw, ...]]:
    """Return `value` with the references in all its texts replaced, and the flaws with places."""
    if isinstance(value, str):
        return expand(value, environment)
    flaws: list[Flaw] = []
    match value:
        case dict():
            table = {}
            for key, item in value.items():
                table[key], below = expand_all(item, environment)
                flaws += _inside(key, below)
            return table, tuple(flaws)
        case list():
            items = []
            for index, item in enumerate(value):
                expanded, below = expand_all(item, environment)
                items.append(expanded)
                flaws += _inside(index, below)
            return items, tuple(flaws)
        case _:
            return value, ()


def _inside(part: str | int, flaws: tuple[Flaw, ...]) -> Iterator[Flaw]:
    for flaw in flaws:
        yield replace(flaw, within=(part, *flaw.within))
