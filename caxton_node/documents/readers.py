"""How a hand-written value becomes the value that the program uses: one reader for each kind.

A reader says what it wants (for errors and for the reference), takes a JSON value and returns
the program's value, or raises `Flawed` with everything that is wrong. It says what it found
only through `found`, which keeps it short.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from caxton_node.documents.document import Flaw, shorten
from caxton_node.documents.nearest import nearest
from caxton_node.domain.agent import EMPTY
from caxton_node.domain.quantities import (
    format_duration,
    format_size,
    parse_duration_s,
    parse_size_bytes,
)

__all__ = [
    "Boolean",
    "Choice",
    "Duration",
    "Flawed",
    "Integer",
    "ListOf",
    "Number",
    "Reader",
    "Size",
    "Table",
    "Text",
    "Url",
    "found",
]

_INTEGER_MAX: Final = 2**63 - 1


class Flawed(Exception):
    """A value that is not what it should be.

    Attributes:
        flaws: Everything that is wrong with it.
    """

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.flaws = flaws


class Reader(Protocol):
    """Reads one kind of value."""

    @property
    def wanted(self) -> str:
        """What a value must be, reading on from "must be"."""
        ...

    def read(self, value: Any) -> Any:
        """Return the program's value.

        Raises:
            Flawed: The value is not what is wanted.
        """
        ...

    def from_text(self, text: str) -> Any:
        """Return the JSON value that `text` means where only text can be given.

        What it does not understand it returns as it is, for `read` to refuse.
        """
        ...


def found(value: Any) -> str:
    """Return what `value` is, for an error message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {'true' if value else 'false'}"
        case int() if abs(value) > _INTEGER_MAX:
            return "a number beyond 64 bits"
        case int() | float():
            return f"the number {value!r}"
        case str():
            return f'the text "{shorten(value)}"' if value else "an empty text"
        case list() | tuple():
            return "a list"
        case _:
            return "a table"


def _not_wanted(reader: Reader, value: Any, fix: str | None = None) -> Flawed:
    return Flawed(Flaw(f"must be {reader.wanted}, not {found(value)}", "wrong_type", fix))


class _FromPlainText:
    """The reading from text of a kind that is text."""

    __slots__ = ()

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(_FromPlainText):
    """A text, perhaps of a certain form."""

    length_max: int
    pattern: re.Pattern[str] | None = None
    """Matches the whole text."""
    form: str = ""
    """What the pattern asks for, as in "a text of …"."""
    fix: str | None = None
    is_blank_allowed: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return self.form or f"a text of at most {self.length_max} characters"

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise _not_wanted(self, value, None if value is None else "Write it in quotes")
        if not self.is_blank_allowed and not value.strip():
            raise Flawed(Flaw("must not be empty", "empty", self.fix))
        if len(value) > self.length_max:
            message = f"has {len(value)} characters; the limit is {self.length_max}"
            raise Flawed(Flaw(message, "too_long", "Shorten it"))
        if self.pattern and not self.pattern.fullmatch(value):
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "form", self.fix))
        return value


@dataclass(frozen=True, slots=True)
class Choice(_FromPlainText):
    """One of a few words."""

    options: tuple[str, ...]
    synonyms: Mapping[str, str] = EMPTY
    """Other spellings that are taken silently."""
    fixes: Mapping[str, str] = EMPTY
    """What to tell somebody who wrote a certain other word."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        *others, last = (f'"{option}"' for option in self.options)
        return f"{', '.join(others)} or {last}" if others else last

    def read(self, value: Any) -> str:
        """Return the word."""
        if not isinstance(value, str):
            raise _not_wanted(self, value)
        word = self.synonyms.get(value, value)
        if word in self.options:
            return word
        near = nearest(word, self.options)
        fix = self.fixes.get(word) or (f'Did you mean "{near}"?' if near else None)
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "choice", fix))


def _bounds(low: float, high: float | None, *, is_above: bool) -> str:
    if high is not None:
        return f" from {_spelled(low)} to {_spelled(high)}"
    return f" above {_spelled(low)}" if is_above else f" of at least {_spelled(low)}"


def _spelled(number: float) -> str:
    return f"{number:_.0f}" if number == int(number) else f"{number:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number."""

    minimum: int = 0
    maximum: int | None = None

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return f"a whole number{_bounds(self.minimum, self.maximum, is_above=False)}"

    def read(self, value: Any) -> int:
        """Return the number."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _not_wanted(self, value, _unquote(value))
        if not self.minimum <= value <= (_INTEGER_MAX if self.maximum is None else self.maximum):
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "range"))
        return value

    def from_text(self, text: str) -> Any:
        """Return the number that `text` spells."""
        is_number = re.fullmatch(r"[+-]?[0-9]{1,20}", text.strip())
        return int(text) if is_number else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number, whole or not; never NaN or infinite."""

    minimum: float = 0.0
    maximum: float | None = None
    is_above: bool = False
    """The minimum itself is not allowed."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return f"a number{_bounds(self.minimum, self.maximum, is_above=self.is_above)}"

    def read(self, value: Any) -> float:
        """Return the number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _not_wanted(self, value, _unquote(value))
        highest = _INTEGER_MAX if self.maximum is None else self.maximum
        is_in_range = self.minimum <= value <= highest
        if not is_in_range or (self.is_above and value == self.minimum):
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "range"))
        return float(value)

    def from_text(self, text: str) -> Any:
        """Return the number that `text` spells."""
        try:
            return float(text)
        except ValueError:
            return text


def _unquote(value: Any) -> str | None:
    is_number = isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value)
    return "Write it without quotes" if is_number else None


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "true or false"

    def read(self, value: Any) -> bool:
        """Return the boolean."""
        if isinstance(value, bool):
            return value
        meant = self.from_text(value) if isinstance(value, str) else value
        fix = None
        if isinstance(meant, bool):
            fix = f"Write {'true' if meant else 'false'}, without quotes"
        raise _not_wanted(self, value, fix)

    def from_text(self, text: str) -> Any:
        """Return what `text` means: `true`, `1`, `yes`, `on`, or their opposites."""
        word = text.strip().lower()
        if word in {"true", "1", "yes", "on"}:
            return True
        return False if word in {"false", "0", "no", "off"} else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration(_FromPlainText):
    """A duration: `30s`, `5m`, `1h30m`, `500ms`, or a number of seconds."""

    minimum_s: float = 0.001
    maximum_s: float = 10 * 365 * 86_400.0

    @property
    def wanted(self) -> str:
        """What a value must be."""
        low, high = format_duration(self.minimum_s), format_duration(self.maximum_s)
        return f"a duration from {low} to {high}"

    def read(self, value: Any) -> float:
        """Return seconds."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _not_wanted(self, value, 'Write "30s", "5m", "1h30m" or "500ms"')
        seconds = parse_duration_s(value) if isinstance(value, str) else _finite(value)
        if seconds is None:
            fix = 'Write "30s", "5m", "1h30m" or "500ms"'
            raise Flawed(Flaw(f"must be a duration, not {found(value)}", "duration", fix))
        if not self.minimum_s <= seconds <= self.maximum_s:
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "range"))
        return seconds


def _finite(value: float) -> float | None:
    # A whole number too large for a float is out of every range that we have.
    if isinstance(value, int):
        return float(value) if abs(value) <= _INTEGER_MAX else None
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size(_FromPlainText):
    """A size: `10MB`, `256MiB`, or a number of bytes."""

    minimum_bytes: int = 1
    maximum_bytes: int = 1 << 40

    @property
    def wanted(self) -> str:
        """What a value must be."""
        low, high = format_size(self.minimum_bytes), format_size(self.maximum_bytes)
        return f"a size from {low} to {high}"

    def read(self, value: Any) -> int:
        """Return bytes."""
        fix = 'Write "10MB" or "256MiB"'
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _not_wanted(self, value, fix)
        size = parse_size_bytes(value) if isinstance(value, str) else value
        if size is None:
            raise Flawed(Flaw(f"must be a size, not {found(value)}", "size", fix))
        if not self.minimum_bytes <= size <= self.maximum_bytes:
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "range"))
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    """A list without repetitions."""

    item: Reader
    count_max: int
    count_min: int = 0
    name: str = "a list of texts"
    fix: str | None = None
    """How a list of this kind is written."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return self.name

    def read(self, value: Any) -> tuple[Any, ...]:
        """Return the items."""
        if not isinstance(value, list | tuple):
            fix = f'Write ["{shorten(value)}"]' if isinstance(value, str) and value else self.fix
            raise _not_wanted(self, value, fix)
        if len(value) < self.count_min:
            raise Flawed(Flaw("must not be empty", "empty", self.fix))
        if len(value) > self.count_max:
            message = f"has {len(value)} items; the limit is {self.count_max}"
            raise Flawed(Flaw(message, "too_many"))
        items: list[Any] = []
        flaws: list[Flaw] = []
        for index, entry in enumerate(value):
            try:
                item = self.item.read(entry)
            except Flawed as error:
                flaws += [replace(flaw, within=(index, *flaw.within)) for flaw in error.flaws]
                continue
            if item in items:
                message = f"repeats {found(str(item))}"
                flaws.append(Flaw(message, "duplicate", "Remove one of the two", (index,)))
            items.append(item)
        if flaws:
            raise Flawed(*flaws)
        return tuple(items)

    def from_text(self, text: str) -> Any:
        """Return the items that `text` lists between commas."""
        return [part.strip() for part in text.split(",") if part.strip()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose keys the user chooses."""

    item: Reader | None = None
    """Reads each value; None takes any."""
    key: Reader | None = None
    """Reads each key; None takes any."""
    count_max: int = 100
    name: str = "a table"

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return self.name

    def read(self, value: Any) -> Mapping[str, Any]:
        """Return the table."""
        if not isinstance(value, Mapping):
            raise _not_wanted(self, value)
        if len(value) > self.count_max:
            message = f"has {len(value)} keys; the limit is {self.count_max}"
            raise Flawed(Flaw(message, "too_many"))
        table: dict[str, Any] = {}
        flaws: list[Flaw] = []
        for key, entry in value.items():
            try:
                name = self.key.read(key) if self.key else key
                table[name] = self.item.read(entry) if self.item else entry
            except Flawed as error:
                flaws += [replace(flaw, within=(key, *flaw.within)) for flaw in error.flaws]
        if flaws:
            raise Flawed(*flaws)
        return table

    def from_text(self, text: str) -> Any:
        """Return the table that `text` writes as JSON."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text


@dataclass(frozen=True, slots=True)
class Url(_FromPlainText):
    """The address of an HTTP service."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "an address that begins with http:// or https://"

    def read(self, value: Any) -> str:
        """Return the address without a slash at the end."""
        if not isinstance(value, str):
            raise _not_wanted(self, value)
        try:
            parts = urlsplit(value)
            is_url = parts.scheme in {"http", "https"} and bool(parts.hostname)
            is_url = is_url and (parts.port is None or parts.port > 0)
            has_login = "@" in parts.netloc
        except ValueError:
            is_url = has_login = False
        if has_login:
            # What stands there is not repeated: it is a password.
            flaw = Flaw("must not contain a user or a password", "secret_in_file", "Remove it")
            raise Flawed(flaw)
        if not is_url or len(value) > 2_000 or re.search(r"\s", value):
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "url"))
        return value.rstrip("/")
