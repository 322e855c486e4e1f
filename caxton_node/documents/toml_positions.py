r"""Where each key of a TOML text stands. `tomllib` reads the values but forgets the places.

This scanner follows the shape of TOML (keys, headers, brackets, strings, comments) and leaves
meaning to `tomllib`: it accepts everything that TOML does and somewhat more, and stops without
complaint at the first thing it cannot follow, which `tomllib` will not accept either. It runs
first and holds the limits, because `tomllib` recurses into brackets and takes quadratic time
over a key of a hundred thousand dots.

Reference: TOML 1.0.0, https://toml.io/en/v1.0.0.
"""

import re
import tomllib
from typing import Final

from caxton_node.documents.document import (
    NESTING_MAX,
    VALUES_MAX,
    Flaw,
    Path,
    Unreadable,
    dotted,
    line_and_column,
)

__all__ = ["TomlPositions", "locate_keys"]

_BLANK: Final = re.compile(r"[ \t]*")
_FILLER: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASIC: Final = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"')
_LITERAL: Final = re.compile(r"'[^'\n]*'")
_BASIC_END: Final = re.compile(r'\\[\s\S]|"{3,5}')
_LITERAL_END: Final = re.compile(r"'{3,5}")
_SCALAR: Final = re.compile(r"[^\s,\[\]{}#\"'=](?:[^\n,\[\]{}#\"'=]*[^\s,\[\]{}#\"'=])?")
_QUOTES: Final = ('"', "'")


class _Stop(Exception):
    """This is not TOML, as far as the scanner can tell."""


class TomlPositions:
    """The scanner and what it has found so far.

    Attributes:
        offsets: Where each key, list item and table header begins.
        spans: Where each value begins and ends.
    """

    def __init__(self, text: str) -> None:
        self.offsets: dict[Path, int] = {}
        self.spans: dict[Path, tuple[int, int]] = {}
        self._text = text
        self._at = 0
        self._table: Path = ()
        self._headers: set[Path] = set()
        self._last_index: dict[Path, int] = {}
        self._count = 0

    def scan(self) -> None:
        """Follow the text to its end or to the first thing that is not TOML."""
        try:
            while self._skip(_FILLER) < len(self._text):
                self._statement()
        except _Stop:
            return

    def _statement(self) -> None:
        if self._text.startswith("[", self._at):
            self._header()
        else:
            self._pair(self._table)
        self._skip(_BLANK)
        if self._at < len(self._text) and self._text[self._at] not in "#\n":
            raise _Stop

    def _header(self) -> None:
        start = self._at
        is_item = self._text.startswith("[[", start)
        self._at += 2 if is_item else 1
        self._skip(_BLANK)
        key = self._key()
        self._expect("]]" if is_item else "]")
        path: Path = ()
        for part in key[:-1]:
            path = self._inside_last_item((*path, part))
            self._mark(path, start)
        path = (*path, key[-1])
        if is_item:
            self._mark(path, start)
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = (*path, self._last_index[path])
        elif path in self._headers:
            raise self._repeated(path, start, "table_repeated", f"The table [{dotted(path)}]")
        self._headers.add(path)
        self._mark(path, start)
        self._table = path

    def _inside_last_item(self, path: Path) -> Path:
        index = self._last_index.get(path)
        return path if index is None else (*path, index)

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            if path in self.spans:
                raise self._repeated(path, start, "key_repeated", f"The key `{dotted(path)}`")
            self._mark(path, start)
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        parts = [self._key_part()]
        self._skip(_BLANK)
        while self._text.startswith(".", self._at):
            if len(parts) >= NESTING_MAX:
                raise self._nested_too_deep()
            self._at += 1
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
        return parts

    def _key_part(self) -> str:
        bare = _BARE_KEY.match(self._text, self._at)
        if bare:
            self._at = bare.end()
            return bare[0]
        quoted = _BASIC.match(self._text, self._at) or _LITERAL.match(self._text, self._at)
        if quoted is None:
            raise _Stop
        self._at = quoted.end()
        if "\\" not in quoted[0] or quoted[0].startswith("'"):
            return quoted[0][1:-1]
        try:
            return str(tomllib.loads(f"key = {quoted[0]}")["key"])
        except tomllib.TOMLDecodeError:
            raise _Stop from None

    def _value(self, path: Path) -> None:
        if len(path) > NESTING_MAX:
            raise self._nested_too_deep()
        start = self._at
        opening = self._text[start : start + 1]
        if opening in _QUOTES:
            self._string(opening)
        elif opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            scalar = _SCALAR.match(self._text, start)
            if scalar is None:
                raise _Stop
            self._at = scalar.end()
        self.spans[path] = (start, self._at)

    def _string(self, quote: str) -> None:
        if not self._text.startswith(quote * 3, self._at):
            whole = (_BASIC if quote == '"' else _LITERAL).match(self._text, self._at)
            if whole is None:
                raise _Stop
            self._at = whole.end()
            return
        # Up to two quotes may stand directly before the closing three.
        ends = (_BASIC_END if quote == '"' else _LITERAL_END).finditer(self._text, self._at + 3)
        end = next((match.end() for match in ends if match[0][0] == quote), None)
        if end is None:
            raise _Stop
        self._at = end

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._skip(_FILLER) < len(self._text) and self._text[self._at] != "]":
            item = (*path, index)
            self._mark(item, self._at)
            self._value(item)
            index += 1
            self._skip(_FILLER)
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
        self._skip(_FILLER)
        self._expect("]")

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        # TOML 1.0 wants an inline table on one line; 1.1 does not. `tomllib` decides.
        while self._skip(_FILLER) < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._skip(_FILLER)
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
        self._skip(_FILLER)
        self._expect("}")

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        assert match is not None, "what is skipped may be empty"
        self._at = match.end()
        return self._at

    def _expect(self, token: str) -> None:
        if not self._text.startswith(token, self._at):
            raise _Stop
        self._at += len(token)

    def _mark(self, path: Path, offset: int) -> None:
        if path in self.offsets:
            return
        self._count += 1
        if self._count > VALUES_MAX:
            line, column = line_and_column(self._text, offset)
            flaw = Flaw(
                f"More than {VALUES_MAX} keys and list items", "too_many_values", "Split the file"
            )
            raise Unreadable(flaw, line=line, column=column)
        self.offsets[path] = offset

    def _repeated(self, path: Path, offset: int, rule: str, what: str) -> Unreadable:
        first_line, _ = line_and_column(self._text, self.offsets[path])
        line, column = line_and_column(self._text, offset)
        flaw = Flaw(f"{what} is written twice", rule, f"The first is on line {first_line}")
        return Unreadable(flaw, line=line, column=column)

    def _nested_too_deep(self) -> Unreadable:
        line, column = line_and_column(self._text, self._at)
        flaw = Flaw(f"More than {NESTING_MAX} levels of nesting", "nested_too_deep")
        return Unreadable(flaw, line=line, column=column)


def locate_keys(text: str) -> TomlPositions:
    """Return the places of all keys in a TOML text; of as many as it has before an error.

    Raises:
        Unreadable: A key or table is repeated, or a limit is exceeded.
    """
    positions = TomlPositions(text)
    positions.scan()
    return positions
