"""Many rows bound to one statement, for batches that are large enough.

A row in JSON costs SQLite 3 µs to take apart, more than inserting it with its indexes does. Bound
one by one its values cost 0.7, but a statement a row costs the interpreter's lock twice a row. So
large batches take a statement with as many groups of parameters as they have rows, in a few sizes:
what is prepared once is used again. Rows that fill it up are empty and left out.

Small batches stay in JSON, where one statement does everything a batch needs.

Pure.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["MANY", "MANY_BYTES_MAX", "ROWS_MAX", "ManyRows"]

_SIZES: Final = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Rows of a statement. A third of it is empty at most; each is prepared once a connection."""

MANY: Final = 48
"""Rows from which this is cheaper than JSON, with the transaction that it takes."""

MANY_BYTES_MAX: Final = 2_000_000
"""Of the bodies bound: SQLite keeps each statement's last values until the next ones. Where the
messages are so large, what they cost is their bytes and not their rows."""

ROWS_MAX: Final = _SIZES[-1]
"""Rows of one statement; of seven columns that is less than half the parameters SQLite allows."""


class ManyRows:
    """One statement in several sizes.

    Args:
        sql: With one group of parameters, as in `VALUES (?, ?)`. It leaves out rows that begin
            with NULL.
    """

    def __init__(self, sql: str) -> None:
        before, opening, rest = sql.partition("VALUES (")
        group, _, after = rest.partition(")")
        assert opening, "it has a group of parameters"
        self._columns = group.count("?")
        self._statements = {
            size: f"{before}VALUES {', '.join([f'({group})'] * size)}{after}" for size in _SIZES
        }

    def statement(self, rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """Return the statement for so many rows, and its parameters.

        Args:
            rows: At most `ROWS_MAX`.
        """
        size = _SIZES[bisect_left(_SIZES, len(rows))]
        values = list(chain.from_iterable(rows))
        values += (None,) * (self._columns * (size - len(rows)))
        return self._statements[size], values
