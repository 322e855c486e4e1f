"""Choosing what a chart shows, and drawing it as SVG that stands for itself.

The picture holds no script and names no other file: it can be mailed, kept, or shown in a page
with a strict policy. The same table gives the same bytes.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from caxton_node.tools.table import Column, ColumnType, Table
from caxton_node.tools.table_facts import default_breakdown, is_measure, mean_of, total_of

__all__ = ["Aggregate", "ChartData", "ChartError", "ChartKind", "choose_data", "draw_svg"]

CATEGORY_COUNT_MAX: Final = 50
"""Bars or slices. What is left out is counted in the result."""

POINT_COUNT_MAX: Final = 2_000
"""Points of a line or a cloud; of more, evenly spaced ones are drawn."""

LABELS_SHOWN: Final = 12
LABEL_LENGTH_MAX: Final = 40


class ChartError(ValueError):
    """The table does not hold what the chart needs. The text is for a model."""


class ChartKind(StrEnum):
    """What the picture looks like."""

    BAR = "bar"
    LINE = "line"
    PIE = "pie"
    SCATTER = "scatter"
    HISTOGRAM = "histogram"


class Aggregate(StrEnum):
    """How several rows of one category become one number."""

    SUM = "sum"
    MEAN = "mean"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartData:
    """What is drawn."""

    kind: ChartKind
    title: str
    x_name: str
    y_name: str
    labels: tuple[str, ...] = ()
    """Of bar, line and pie: one for each value."""
    values: tuple[float, ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    """Of scatter."""
    bins: tuple[tuple[float, float, float], ...] = ()
    """Of a histogram: count, from, to."""
    omitted: int = 0
    """Categories or points that are not drawn."""

    @property
    def point_count(self) -> int:
        """How many bars, points, slices or bins there are."""
        return len(self.values) or len(self.pairs) or len(self.bins)


def choose_data(
    table: Table,
    *,
    kind: ChartKind,
    x: int | None,
    y: int | None,
    aggregate: Aggregate = Aggregate.SUM,
    title: str = "",
    bin_count: int | None = None,
) -> ChartData:
    """Pick the columns that were not named, add up categories, and keep to the limits.

    Args:
        table: Where the data is.
        kind: What to draw.
        x: Place of the column of categories or of the first coordinate.
        y: Place of the column of numbers.
        aggregate: For categories that occur more than once.
        title: Over the picture; made from the columns' names when empty.
        bin_count: Of a histogram; by the number of values (Sturges' rule) when absent.

    Raises:
        ChartError: There is nothing of the needed type.
    """
    if kind is ChartKind.HISTOGRAM:
        return _histogram(table, y if y is not None else x, title, bin_count)
    if kind is ChartKind.SCATTER:
        return _scatter(table, x, y, title)
    x = _category_column(table, kind, avoiding=y) if x is None else x
    if y is None and aggregate is not Aggregate.COUNT:
        y = _number_column(table, avoiding=x)
        if y is None:
            raise ChartError("The table has no numeric column to draw; use aggregate `count`.")
    if y is not None and aggregate is not Aggregate.COUNT:
        _need_number(table, y)
    x_name = table.columns[x].name if x is not None else "row"
    y_name = "count" if aggregate is Aggregate.COUNT or y is None else table.columns[y].name
    pairs = _categories(table, x, y, aggregate)
    omitted = 0
    if kind is ChartKind.LINE:
        if x is not None and table.columns[x].type is not ColumnType.TEXT:
            pairs.sort(key=lambda pair: pair[0])
        drawn = _evenly(pairs, POINT_COUNT_MAX)
    else:
        drawn = pairs
        if kind is ChartKind.PIE and any(value < 0 for _, value in pairs):
            raise ChartError("A pie cannot show negative numbers; draw bars.")
        if len(pairs) > CATEGORY_COUNT_MAX:
            drawn = sorted(pairs, key=lambda pair: -abs(pair[1]))[:CATEGORY_COUNT_MAX]
    omitted = len(pairs) - len(drawn)
    if not drawn:
        raise ChartError("There is nothing to draw: no row has both values.")
    return ChartData(
        kind=kind,
        title=title or f"{y_name} by {x_name}",
        x_name=x_name,
        y_name=y_name,
        labels=tuple(_label(key) for key, _ in drawn),
        values=tuple(value for _, value in drawn),
        omitted=omitted,
    )


def _categories(
    table: Table, x: int | None, y: int | None, aggregate: Aggregate
) -> list[tuple[Any, float]]:
    """Return a number for each value of `x`, in order of appearance."""
    if x is None:
        assert y is not None or aggregate is Aggregate.COUNT, "chosen above"
        if y is None:
            return [("all", float(len(table.rows)))]
        return [(n, float(row[y])) for n, row in enumerate(table.rows, 1) if row[y] is not None]
    groups: dict[Any, list[float]] = {}
    for row in table.rows:
        if row[x] is None:
            continue
        group = groups.setdefault(row[x], [])
        if aggregate is Aggregate.COUNT or y is None:
            group.append(1)
        elif row[y] is not None:
            group.append(row[y])
    combine: Callable[[Sequence[float]], float | None] = (
        mean_of if aggregate is Aggregate.MEAN else total_of
    )
    combined = ((key, combine(numbers)) for key, numbers in groups.items() if numbers)
    return [(key, float(value)) for key, value in combined if value is not None]


def _scatter(table: Table, x: int | None, y: int | None, title: str) -> ChartData:
    x = _number_column(table, avoiding=y) if x is None else x
    y = _number_column(table, avoiding=x) if y is None else y
    if x is None or y is None:
        raise ChartError("A scatter chart needs two numeric columns.")
    _need_number(table, x)
    _need_number(table, y)
    pairs = [
        (float(row[x]), float(row[y]))
        for row in table.rows
        if row[x] is not None and row[y] is not None
    ]
    drawn = _evenly(pairs, POINT_COUNT_MAX)
    if not drawn:
        raise ChartError("There is nothing to draw: no row has both numbers.")
    x_name, y_name = table.columns[x].name, table.columns[y].name
    return ChartData(
        kind=ChartKind.SCATTER,
        title=title or f"{y_name} over {x_name}",
        x_name=x_name,
        y_name=y_name,
        pairs=tuple(drawn),
        omitted=len(pairs) - len(drawn),
    )


def _histogram(table: Table, column: int | None, title: str, bin_count: int | None) -> ChartData:
    column = _number_column(table, avoiding=None) if column is None else column
    if column is None:
        raise ChartError("A histogram needs a numeric column.")
    _need_number(table, column)
    values = [float(value) for value in table.values(column)]
    if not values:
        raise ChartError("There is nothing to draw: the column holds no numbers.")
    low, high = min(values), max(values)
    count = bin_count or min(CATEGORY_COUNT_MAX, math.ceil(math.log2(len(values))) + 1)
    width = (high - low) / count
    if not math.isfinite(width):
        raise ChartError("The numbers lie too far apart to draw.")
    if width == 0:
        count, width = 1, 1.0
    counts = [0] * count
    for value in values:
        counts[min(count - 1, int((value - low) / width))] += 1
    name = table.columns[column].name
    return ChartData(
        kind=ChartKind.HISTOGRAM,
        title=title or f"Distribution of {name}",
        x_name=name,
        y_name="count",
        bins=tuple(
            (float(number), low + index * width, low + (index + 1) * width)
            for index, number in enumerate(counts)
        ),
    )


def draw_svg(data: ChartData) -> bytes:
    """Draw the chart. Blocking, some 100 ms for a large one.

    Returns:
        An SVG document without scripts and without references to anything outside.
    """
    pygal = _import_pygal()
    makers: Mapping[ChartKind, Any] = {
        ChartKind.BAR: pygal.Bar,
        ChartKind.LINE: pygal.Line,
        ChartKind.PIE: pygal.Pie,
        ChartKind.SCATTER: pygal.XY,
        ChartKind.HISTOGRAM: pygal.Histogram,
    }
    chart = makers[data.kind](
        js=(),
        title=data.title[:200],
        x_title=data.x_name[:LABEL_LENGTH_MAX],
        y_title=data.y_name[:LABEL_LENGTH_MAX],
        show_legend=data.kind is ChartKind.PIE,
        stroke=data.kind is not ChartKind.SCATTER,
        x_label_rotation=30 if len(data.labels) > 6 else 0,
        truncate_label=LABEL_LENGTH_MAX,
        disable_xml_declaration=False,
    )
    chart.uuid = "chart"
    if data.kind is ChartKind.PIE:
        for label, value in zip(data.labels, data.values, strict=True):
            chart.add(label, value)
    elif data.kind is ChartKind.SCATTER:
        chart.add(data.y_name, list(data.pairs))
    elif data.kind is ChartKind.HISTOGRAM:
        chart.add(data.y_name, list(data.bins))
    else:
        step = max(1, math.ceil(len(data.labels) / LABELS_SHOWN))
        chart.x_labels = list(data.labels)
        if data.kind is ChartKind.LINE and step > 1:
            chart.x_labels_major = list(data.labels[::step])
            chart.show_minor_x_labels = False
        chart.add(data.y_name, list(data.values))
    chart.add_xml_filter(_without_references)
    drawn: bytes = chart.render()
    return drawn


def _import_pygal() -> Any:
    # It reads fonts and styles when imported, which only a node that draws should pay for.
    import pygal  # noqa: PLC0415 (see above)

    # It leaves a finder for plugins behind, in a form that Python 3.12 dropped and 3.11 warns of
    # at every import that follows. We use no plugins.
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__
    ]
    return pygal


def _without_references(root: Any) -> Any:
    """Remove scripts, comments and links from the drawn tree."""
    for parent in list(root.iter()):
        for child in list(parent):
            tag = child.tag if isinstance(child.tag, str) else "comment"
            if tag.rpartition("}")[2] in {"script", "comment", "a", "image", "foreignObject"}:
                parent.remove(child)
    for key in [key for key in root.attrib if key.startswith("xmlns:xlink")]:
        del root.attrib[key]
    return root


def _evenly(items: Sequence[Any], count_max: int) -> list[Any]:
    if len(items) <= count_max:
        return list(items)
    step = (len(items) - 1) / (count_max - 1)
    return [items[round(index * step)] for index in range(count_max)]


def _label(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LABEL_LENGTH_MAX else text[: LABEL_LENGTH_MAX - 1] + "…"


def _category_column(table: Table, kind: ChartKind, *, avoiding: int | None) -> int | None:
    """Choose what runs along the bottom: time for a line, what repeats for bars and slices."""
    if kind is ChartKind.LINE:
        found = _first(table, lambda column: column.type is ColumnType.DATE, avoiding=avoiding)
        if found is not None:
            return found
    breakdown = default_breakdown(table)
    if breakdown is not None and breakdown[0] != avoiding:
        return breakdown[0]
    return _first(table, lambda column: not column.type.is_numeric, avoiding=avoiding)


def _number_column(table: Table, *, avoiding: int | None) -> int | None:
    """Choose what is measured, rather than a number that only names a row."""
    found = _first(table, is_measure, avoiding=avoiding)
    if found is not None:
        return found
    return _first(table, lambda column: column.type.is_numeric, avoiding=avoiding)


def _first(table: Table, wanted: Callable[[Column], bool], *, avoiding: int | None) -> int | None:
    for index, column in enumerate(table.columns):
        if index != avoiding and wanted(column):
            return index
    return None


def _need_number(table: Table, index: int) -> None:
    column = table.columns[index]
    if not column.type.is_numeric:
        raise ChartError(f"The column {column.name[:80]!r} holds {column.type} and no numbers.")
