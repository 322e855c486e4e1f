"""A table as tools hand it to each other: typed columns, rows of JSON values.

The encoded form (`application/x-caxton-table`) is JSON:

    {"format": "caxton-table/1",
     "columns": [{"name": "region", "type": "text"}, {"name": "amount", "type": "number"}],
     "rows": [["north", 12.5], ["south", null]]}

A missing value is null. A date is text in ISO 8601, so that order is the order of the text.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

__all__ = [
    "TABLE_MEDIA_TYPE",
    "Column",
    "ColumnType",
    "Table",
    "TableError",
    "decode_table",
    "encode_table",
    "infer_column",
    "table_from_json",
]

TABLE_MEDIA_TYPE: Final = "application/x-caxton-table"
FORMAT: Final = "caxton-table/1"
ROW_COUNT_MAX: Final = 1_000_000
COLUMN_COUNT_MAX: Final = 1_000

INTEGER_MAX: Final = 2**63 - 1
"""What is larger is rather an identifier, and stays text so that no digit is lost."""

_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE: Final = re.compile(r"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2}", re.ASCII)
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_NOT_THERE: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
"""How tables spell *missing*, in any case, in a column whose other cells are no text."""

_TRUTH: Final = {"true": True, "false": False, "yes": True, "no": False}


class TableError(ValueError):
    """The data is no table, or a larger one than is handled. The text is for a model."""


class ColumnType(StrEnum):
    """What the values of a column are, apart from null."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TEXT = "text"

    @property
    def is_numeric(self) -> bool:
        """Whether its values can be added."""
        return self in {ColumnType.INTEGER, ColumnType.NUMBER}


class Column(msgspec.Struct, frozen=True):
    """A column's name and type. Names are unique within a table."""

    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and rows as long as there are columns."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]

    def index(self, name: str) -> int | None:
        """Return the place of the column `name`: as spelled, else but for case, else None."""
        names = [column.name for column in self.columns]
        if name in names:
            return names.index(name)
        plain = [known.strip().casefold() for known in names]
        wanted = name.strip().casefold()
        return plain.index(wanted) if plain.count(wanted) == 1 else None

    def values(self, index: int) -> list[Any]:
        """Return the values of a column, missing ones left out."""
        return [row[index] for row in self.rows if row[index] is not None]


class _Encoded(msgspec.Struct, frozen=True):
    format: str
    columns: tuple[Column, ...]
    rows: list[list[Any]]


def encode_table(table: Table) -> bytes:
    """Return the encoded form."""
    return msgspec.json.encode({"format": FORMAT, "columns": table.columns, "rows": table.rows})


def decode_table(data: bytes) -> Table:
    """Read what `encode_table` wrote.

    Raises:
        TableError: It is something else.
    """
    try:
        encoded = msgspec.json.decode(data, type=_Encoded)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise TableError(f"This is no table: {error}") from error
    if encoded.format != FORMAT:
        raise TableError(f"This table is in the format {encoded.format!r}, not {FORMAT!r}.")
    width = len(encoded.columns)
    if any(len(row) != width for row in encoded.rows):
        raise TableError("This is no table: its rows differ in length.")
    check_size(len(encoded.rows), width)
    _check_cells(encoded)
    return Table(encoded.columns, encoded.rows)


def check_size(row_count: int, column_count: int) -> None:
    """Refuse a table beyond the limits.

    Raises:
        TableError: It has too many rows or columns.
    """
    if row_count > ROW_COUNT_MAX:
        raise TableError(f"The table has more than {ROW_COUNT_MAX:,} rows.")
    if column_count > COLUMN_COUNT_MAX:
        raise TableError(f"The table has more than {COLUMN_COUNT_MAX:,} columns.")


def infer_column(cells: Sequence[str]) -> tuple[ColumnType, list[Any]]:
    """Find what the texts of a column are, and return them as values of that type.

    A type is found only if every cell that is not missing fits it. Leading zeros make text
    (a postcode is no number). Dates are understood in ISO 8601 and as `2026/01/31`; orders of
    day and month that differ between countries stay text.
    """
    stripped = [cell.strip() for cell in cells]
    # Columns repeat themselves: each different cell is read once.
    present = [cell for cell in dict.fromkeys(stripped) if cell.casefold() not in _NOT_THERE]
    for kind, read in _READERS:
        readings = _read_all(present, read)
        if readings and (kind is not ColumnType.DATE or _is_one_kind_of_date(readings.values())):
            return kind, [readings.get(cell) for cell in stripped]
    return ColumnType.TEXT, [cell or None for cell in cells]


def table_from_json(value: Any) -> Table:
    """Make a table of JSON: records, rows under a heading, plain values, or label → value.

    Raises:
        TableError: It is none of these.
    """
    match value:
        case {"format": "caxton-table/1"}:
            return decode_table(msgspec.json.encode(value))
        case {**entries} if entries and not any(_is_nested(item) for item in entries.values()):
            return _table_from_rows(["label", "value"], [[k, v] for k, v in entries.items()])
        case [{}, *_]:
            return _table_from_records(value)
        case [[*heading], *rows] if heading and all(isinstance(name, str) for name in heading):
            return _table_from_rows(heading, rows)
        case [first, *_] if not _is_nested(first):
            return _table_from_rows(["value"], [[item] for item in value])
        case _:
            raise TableError(
                "Give a list of objects, a list of numbers, or a list of rows under a heading."
            )


def _table_from_records(records: Sequence[Any]) -> Table:
    names: dict[str, None] = {}
    for record in records:
        if not isinstance(record, Mapping):
            raise TableError("Every item of the list must be an object, as the first one is.")
        names.update(dict.fromkeys(str(key) for key in record))
        check_size(len(records), len(names))
    rows = [[record.get(name) for name in names] for record in records]
    return _table_from_rows(list(names), rows)


def _table_from_rows(heading: Sequence[str], rows: Sequence[Any]) -> Table:
    check_size(len(rows), len(heading))
    width = len(heading)
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != width:
            raise TableError(f"Every row must be a list of {width} values, as the heading is.")
    if len(set(heading)) != width:
        raise TableError("Two columns have the same name.")
    columns = [_column_from_json([row[index] for row in rows]) for index in range(width)]
    named = tuple(Column(name, kind) for name, (kind, _) in zip(heading, columns, strict=True))
    return Table(named, list(zip(*(values for _, values in columns), strict=True)))


def _column_from_json(values: Sequence[Any]) -> tuple[ColumnType, list[Any]]:
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return ColumnType.BOOLEAN, list(values)
    if kinds == {int} and all(abs(value) <= INTEGER_MAX for value in present):
        return ColumnType.INTEGER, list(values)
    if kinds and kinds <= {int, float}:
        return ColumnType.NUMBER, [None if value is None else float(value) for value in values]
    if kinds == {str}:
        kind, read = infer_column(["" if value is None else value for value in values])
        # In JSON a text that looks like a number was meant as a text; a date has no other form.
        if kind is ColumnType.DATE:
            return kind, read
    return ColumnType.TEXT, [_as_text(value) for value in values]


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | tuple | Mapping)


def _check_cells(encoded: _Encoded) -> None:
    for index, column in enumerate(encoded.columns):
        allowed = _PYTHON_TYPES[column.type]
        for row in encoded.rows:
            if row[index] is not None and type(row[index]) not in allowed:
                raise TableError(f"This is no table: a {column.type} of {column.name!r} is none.")


def _read_integer(cell: str) -> int | None:
    if not _INTEGER.fullmatch(cell):
        return None
    number = int(cell)
    return number if abs(number) <= INTEGER_MAX else None


def _read_number(cell: str) -> float | None:
    if len(cell) > 40 or not _NUMBER.fullmatch(cell):
        return None
    if cell.lstrip("+-").isdigit() and _read_integer(cell) is None:
        return None
    number = float(cell)
    return number if abs(number) != float("inf") else None


def _read_boolean(cell: str) -> bool | None:
    return _TRUTH.get(cell.casefold())


def _read_date(cell: str) -> str | None:
    try:
        if _DATE.fullmatch(cell):
            return date.fromisoformat(cell.replace("/", "-")).isoformat()
        if _INSTANT.fullmatch(cell):
            instant = datetime.fromisoformat(cell)
            if instant.tzinfo is not None:
                instant = instant.astimezone(UTC)
            return instant.isoformat()
    except (ValueError, OverflowError):
        return None
    return None


def _read_all(cells: Sequence[str], read: Callable[[str], Any]) -> dict[str, Any] | None:
    """Return what each cell reads as, or None as soon as one does not fit."""
    readings = {}
    for cell in cells:
        value = read(cell)
        if value is None:
            return None
        readings[cell] = value
    return readings


def _is_one_kind_of_date(values: Iterable[str]) -> bool:
    # Days, local times and instants cannot be put in one order.
    return len({(len(value) > 10, value.endswith("+00:00")) for value in values}) == 1


_READERS: Final = (
    (ColumnType.INTEGER, _read_integer),
    (ColumnType.NUMBER, _read_number),
    (ColumnType.BOOLEAN, _read_boolean),
    (ColumnType.DATE, _read_date),
)
_PYTHON_TYPES: Final[Mapping[ColumnType, tuple[type, ...]]] = {
    ColumnType.INTEGER: (int,),
    ColumnType.NUMBER: (int, float),
    ColumnType.BOOLEAN: (bool,),
    ColumnType.DATE: (str,),
    ColumnType.TEXT: (str,),
}
