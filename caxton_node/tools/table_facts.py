"""Describing a table: what an analyst would first want to know of each column.

Sums are exactly rounded (`math.fsum`), or exact for whole numbers; the standard deviation is the
sample's (n - 1); quartiles are interpolated between the closest ranks, both ends included, as
spreadsheets (QUARTILE.INC) and NumPy do. What cannot be computed is null.

Pure. Reference: Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996, definition 7.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from caxton_node.tools.table import Column, ColumnType, Table

__all__ = ["QUARTILE_METHOD", "default_breakdown", "describe_column", "group", "is_measure"]

QUARTILE_METHOD: Final = "inclusive (linear interpolation, QUARTILE.INC)"
TOP_VALUES_MAX: Final = 5
GROUP_COUNT_MAX: Final = 50
"""Groups shown; the largest ones first."""

BREAKDOWN_DISTINCT_MAX: Final = 20
"""A text column with more different values is no natural grouping."""

MEASURES_MAX: Final = 3
"""Numeric columns in a breakdown that nobody asked for."""


def describe_column(table: Table, index: int) -> dict[str, Any]:
    """Return the facts of one column, by its type."""
    column = table.columns[index]
    values = table.values(index)
    facts: dict[str, Any] = {
        "name": column.name,
        "type": column.type.value,
        "count": len(values),
        "missing": len(table.rows) - len(values),
    }
    if column.type.is_numeric:
        return facts | describe_numbers(values)
    if column.type is ColumnType.DATE:
        return facts | {
            "min": min(values, default=None),
            "max": max(values, default=None),
            "distinct": len(set(values)),
        }
    counts = Counter(values)
    top = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:TOP_VALUES_MAX]
    return facts | {
        "distinct": len(counts),
        "top": [{"value": value, "count": count} for value, count in top],
    }


def describe_numbers(values: Sequence[float]) -> dict[str, Any]:
    """Return sum, mean, median, sample standard deviation, extremes and quartiles."""
    if not values:
        names = ("sum", "mean", "median", "stdev", "min", "max", "q1", "q3")
        return dict.fromkeys(names)
    q1, median, q3 = (
        statistics.quantiles(values, n=4, method="inclusive")
        if len(values) > 1
        else (values[0], values[0], values[0])
    )
    total = total_of(values)
    return {
        "sum": total,
        "mean": mean_of(values),
        "median": _finite(median),
        "stdev": _stdev(values),
        "min": min(values),
        "max": max(values),
        "q1": _finite(q1),
        "q3": _finite(q3),
    }


def group(table: Table, by: int, measures: Sequence[int]) -> tuple[list[dict[str, Any]], int]:
    """Return rows per value of a column, largest first sum first, and how many were left out.

    Missing values of the grouping column are a group of their own, with the value null.
    """
    members: dict[Any, list[Sequence[Any]]] = {}
    for row in table.rows:
        members.setdefault(row[by], []).append(row)
    groups = []
    for value, rows in members.items():
        per_measure = {}
        for measure in measures:
            numbers = [row[measure] for row in rows if row[measure] is not None]
            per_measure[table.columns[measure].name] = {
                "sum": total_of(numbers),
                "mean": mean_of(numbers),
                "count": len(numbers),
            }
        groups.append({"value": value, "row_count": len(rows), "measures": per_measure})

    def rank(entry: dict[str, Any]) -> tuple[float, int, str]:
        first = next(iter(entry["measures"].values()), None)
        total = first["sum"] if first and first["sum"] is not None else -math.inf
        return -total, -entry["row_count"], str(entry["value"])

    groups.sort(key=rank)
    return groups[:GROUP_COUNT_MAX], max(0, len(groups) - GROUP_COUNT_MAX)


def default_breakdown(table: Table) -> tuple[int, list[int]] | None:
    """Choose how to group when nobody said: a text column that repeats, and what to add up."""
    measures = [index for index, column in enumerate(table.columns) if is_measure(column)][
        :MEASURES_MAX
    ]
    if not measures:
        return None
    for index, column in enumerate(table.columns):
        if column.type is not ColumnType.TEXT:
            continue
        values = table.values(index)
        distinct = len(set(values))
        if 2 <= distinct <= BREAKDOWN_DISTINCT_MAX and distinct < len(values):
            return index, measures
    return None


def total_of(values: Sequence[float]) -> float | int | None:
    """Return the sum: exact for whole numbers, exactly rounded for others; null on overflow."""
    if all(isinstance(value, int) for value in values):
        return sum(values)
    try:
        return _finite(math.fsum(values))
    except OverflowError:
        return None


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean, or null where there is none."""
    total = total_of(values)
    return None if total is None or not values else total / len(values)


def _stdev(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    try:
        return _finite(statistics.stdev(values))
    except OverflowError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def is_measure(column: Column) -> bool:
    """Whether a column holds numbers that one would add up, as far as its name tells."""
    plain = column.name.strip().casefold()
    return (
        column.type.is_numeric
        and plain not in {"id", "index", "year", "month", "day", "no", "nr"}
        and not plain.endswith(("_id", " id", "zip", "postcode"))
    )
