"""Reading delimited text of unknown make: its encoding, delimiter, heading and types.

Everything that was guessed is told beside the table, and nothing is dropped in silence: a short
row is filled with missing values, a long one widens the table, and both are reported with their
line numbers.

Pure: bytes in, values out. Reference: RFC 4180.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from caxton_node.tools.table import (
    Column,
    ColumnType,
    Table,
    TableError,
    check_size,
    infer_column,
)

__all__ = ["CsvOptions", "CsvReading", "RaggedRow", "decode_text", "read_csv"]

DELIMITERS: Final = (",", ";", "\t", "|")
"""Tried in this order; the first wins a tie."""

SAMPLE_LENGTH: Final = 65_536
"""Characters that the delimiter is guessed from."""

SAMPLE_ROWS: Final = 100
RAGGED_SHOWN_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """What the caller knows; None and `auto` are found out."""

    delimiter: str | None = None
    encoding: str | None = None
    header: Literal["auto", "present", "absent"] = "auto"


@dataclass(frozen=True, slots=True)
class RaggedRow:
    """A row that is shorter or longer than the first one."""

    line: int
    """1-based, where the row ends."""
    cell_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvReading:
    """A table, and what was found out on the way."""

    table: Table
    delimiter: str
    encoding: str
    has_header: bool
    expected_cell_count: int
    ragged_count: int
    ragged: tuple[RaggedRow, ...]
    """The first few."""
    blank_line_count: int


def decode_text(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Return the text and the name of the encoding: as told, by its mark, UTF-8, or Latin-1.

    Latin-1 reads anything; it is the last resort, and the name returned says that it was used.

    Raises:
        TableError: The bytes are not in the encoding that was told.
    """
    if encoding is not None:
        try:
            return data.decode(encoding), encoding
        except (LookupError, UnicodeError) as error:
            raise TableError(f"The data is not in the encoding {encoding!r}.") from error
    candidates = ["utf-8", "latin-1"]
    if data.startswith(b"\xef\xbb\xbf"):
        candidates.insert(0, "utf-8-sig")
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates.insert(0, "utf-16")
    for candidate in candidates:
        try:
            return data.decode(candidate), candidate
        except UnicodeError:
            continue
    raise AssertionError("Latin-1 decodes any bytes")


def read_csv(data: bytes, options: CsvOptions) -> CsvReading:
    """Read `data` as delimited text.

    Raises:
        TableError: It holds no rows, breaks a limit, or cannot be read.
    """
    text, encoding = decode_text(data, options.encoding)
    delimiter = options.delimiter or _find_delimiter(text)
    rows: list[list[str]] = []
    lines: list[int] = []
    blank_line_count = 0
    for line, row in _rows(text, delimiter):
        if any(cell.strip() for cell in row):
            rows.append(row)
            lines.append(line)
            check_size(len(rows) - 1, len(row))
        else:
            blank_line_count += 1
    if not rows:
        raise TableError("The data holds no rows.")
    expected = len(rows[0])
    ragged = [
        RaggedRow(line, len(row))
        for line, row in zip(lines, rows, strict=True)
        if len(row) != expected
    ]
    has_header = _has_header(rows) if options.header == "auto" else options.header == "present"
    return CsvReading(
        table=_table(rows, has_header=has_header),
        delimiter=delimiter,
        encoding=encoding,
        has_header=has_header,
        expected_cell_count=expected,
        ragged_count=len(ragged),
        ragged=tuple(ragged[:RAGGED_SHOWN_MAX]),
        blank_line_count=blank_line_count,
    )


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # Only CR and LF end a line, and inside quotes they belong to the cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise TableError(f"Line {reader.line_num} cannot be read: {error}.") from error


def _find_delimiter(text: str) -> str:
    sample = text[:SAMPLE_LENGTH]
    if len(text) > SAMPLE_LENGTH:
        # The last line may be cut in two.
        sample = sample[: sample.rfind("\n") + 1] or sample
    best, best_score = DELIMITERS[0], (0.0, 0)
    for delimiter in DELIMITERS:
        score = _consistency(sample, delimiter)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _consistency(sample: str, delimiter: str) -> tuple[float, int]:
    """Return the share of rows that have the usual width, and that width; zero for one cell."""
    widths: Counter[int] = Counter()
    try:
        for _, row in _rows(sample, delimiter):
            if any(row):
                widths[len(row)] += 1
            if widths.total() >= SAMPLE_ROWS:
                break
    except TableError:
        return 0.0, 0
    if not widths:
        return 0.0, 0
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    return (count / widths.total(), width) if width > 1 else (0.0, 0)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: its cells are all texts, and all different."""
    first = [cell.strip() for cell in rows[0]]
    names = [cell for cell in first if cell]
    if len(set(names)) != len(names):
        return False
    kinds = {infer_column([cell])[0] for cell in names}
    return kinds == {ColumnType.TEXT} and (len(rows) > 1 or len(names) > 1)


def _table(rows: list[list[str]], *, has_header: bool) -> Table:
    width = max(len(row) for row in rows)
    heading = rows[0] if has_header else []
    body = rows[1:] if has_header else rows
    inferred = [
        infer_column([row[index] if index < len(row) else "" for row in body])
        for index in range(width)
    ]
    columns = tuple(
        Column(name, kind) for name, (kind, _) in zip(_names(heading, width), inferred, strict=True)
    )
    return Table(columns, list(zip(*(values for _, values in inferred), strict=True)))


def _names(heading: Sequence[str], width: int) -> list[str]:
    """Return a name for every column: as headed, numbered where that is empty or taken."""
    names: list[str] = []
    taken: set[str] = set()
    for index in range(width):
        wanted = heading[index].strip() if index < len(heading) else ""
        wanted = wanted or f"column_{index + 1}"
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        names.append(name)
        taken.add(name)
    return names
