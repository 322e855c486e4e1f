"""What is wrong with a file, collected until the whole of it was looked at."""

import re
from dataclasses import replace
from typing import Final

from caxton_node.documents.document import Document, Flaw, Path, dotted
from caxton_node.domain.errors import Place, Rejected

__all__ = ["PLACES_MAX", "Report"]

_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]{1,6})\]")

PLACES_MAX: Final = 50
"""Errors shown at once. Nobody reads the fifty-first before mending the first."""


class Report:
    """Errors and warnings about one document, each at its place."""

    def __init__(self, document: Document, file: str | None) -> None:
        self._document = document
        self._file = file
        self._errors: list[Place] = []
        self._warnings: list[Place] = []

    @property
    def is_full(self) -> bool:
        """There are as many errors as are shown: what costs time to find out can be left."""
        return len(self._errors) >= PLACES_MAX

    @property
    def warnings(self) -> tuple[Place, ...]:
        """What should be mended, in the order of the file."""
        return tuple(_in_order(self._warnings)[:PLACES_MAX])

    def error(self, path: Path, flaw: Flaw, *, needle: str | None = None) -> None:
        """Note what must be mended. `needle` is the text within the value to point at."""
        self._errors.append(self._place(path, flaw, needle))

    def warn(self, path: Path, flaw: Flaw, *, needle: str | None = None) -> None:
        """Note what should be mended."""
        self._warnings.append(self._place(path, flaw, needle))

    def error_within(self, path: Path, found: Place) -> None:
        """Note what somebody else found wrong within a value.

        Args:
            path: Of the value.
            found: Its field begins within the value, as in `allowed_domains[0]`.
        """
        steps = [step for name, index in _STEP.findall(found.field or "") for step in (name, index)]
        inner = tuple(int(step) if step.isdecimal() else step for step in steps if step)
        line, column = self._document.place_of((*path, *inner)) or (None, None)
        place = replace(
            found,
            message=f"`{dotted(path)}`: {found.message}",
            field=dotted((*path, *inner)),
            file=self._file,
            line=line,
            column=column,
        )
        self._errors.append(place)

    def raise_errors(self) -> None:
        """End here if anything must be mended.

        Raises:
            Rejected: `invalid_agent`, with all places.
        """
        if not self._errors:
            return
        count = len(self._errors)
        what = "1 mistake" if count == 1 else f"{count} mistakes"
        more = f"; the first {PLACES_MAX} are shown" if count > PLACES_MAX else ""
        raise Rejected(
            "invalid_agent",
            f"The agent definition has {what}{more}",
            places=_in_order(self._errors)[:PLACES_MAX],
        )

    def _place(self, path: Path, flaw: Flaw, needle: str | None) -> Place:
        path = (*path, *flaw.within)
        document = self._document
        position = document.place_within(path, needle) if needle else document.place_of(path)
        line, column = position or (None, None)
        field = dotted(path)
        return Place(
            message=f"`{field}` {flaw.message}",
            field=field,
            file=self._file,
            line=line,
            column=column,
            rule=flaw.rule,
            fix=flaw.fix,
        )


def _in_order(places: list[Place]) -> list[Place]:
    return sorted(places, key=lambda place: (place.line or 0, place.column or 0))
