"""`statistics_engine`: the facts of every column of a table, and its groups."""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import (
    TABLE_MEDIA_TYPES,
    artifact_parameter,
    column_index,
    read_table,
    run_apart,
)
from caxton_node.tools.outcome import Mistake, reports_mistakes, shortened
from caxton_node.tools.table import Table
from caxton_node.tools.table_facts import (
    QUARTILE_METHOD,
    default_breakdown,
    describe_column,
    group,
)
from caxton_node.tools.tool import ToolContext

__all__ = ["StatisticsEngine"]

COLUMNS_DESCRIBED_MAX: Final = 50


class StatisticsEngine:
    """Describes tables."""

    spec = ToolSpec(
        name="statistics_engine",
        description=(
            "Describe a table or a list of numbers: count, missing, sum, mean, median, sample "
            "standard deviation, minimum, maximum and quartiles of numeric columns; distinct and "
            "top values of text columns; range of dates; sums and means per group."
        ),
        parameters={
            "type": "object",
            "properties": {
                "artifact": artifact_parameter(
                    "Handle of a table, or of CSV or JSON data.", TABLE_MEDIA_TYPES
                ),
                "data": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 100_000,
                    "description": "Instead of an artifact: a list of objects.",
                },
                "values": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 1,
                    "maxItems": 100_000,
                    "description": "Instead of an artifact: a list of numbers.",
                },
                "columns": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": COLUMNS_DESCRIBED_MAX,
                    "description": "Only these columns. All when absent.",
                },
                "group_by": {
                    "type": "string",
                    "description": "Column whose values make the groups.",
                },
            },
            "x-exactly-one-of": ["artifact", "data", "values"],
            "additionalProperties": False,
        },
        is_read_only=True,
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Describe the table."""
        table, size_bytes = await read_table(arguments, context)
        content = await run_apart(size_bytes, lambda: _describe(table, arguments))
        return ToolResult(content=content)


def _describe(table: Table, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if "columns" in arguments:
        chosen = [column_index(table, name) for name in arguments["columns"]]
    else:
        chosen = list(range(len(table.columns)))
    shown = chosen[:COLUMNS_DESCRIBED_MAX]
    content: dict[str, Any] = {
        "row_count": len(table.rows),
        "columns": [_shortened(describe_column(table, index)) for index in shown],
        "quartile_method": QUARTILE_METHOD,
    }
    if len(chosen) > len(shown):
        content["columns_omitted"] = len(chosen) - len(shown)
    groups = _groups(table, arguments, chosen)
    return content | ({"groups": groups} if groups else {})


def _groups(table: Table, arguments: Mapping[str, Any], chosen: list[int]) -> dict[str, Any] | None:
    if "group_by" in arguments:
        by = column_index(table, arguments["group_by"])
        measures = [
            index
            for index in chosen[:COLUMNS_DESCRIBED_MAX]
            if table.columns[index].type.is_numeric and index != by
        ]
        if not measures and "columns" in arguments:
            raise Mistake("None of the columns is numeric; there is nothing to add up by group.")
    else:
        found = default_breakdown(table)
        if found is None:
            return None
        by, measures = found
        measures = [index for index in measures if index in chosen]
        if not measures:
            return None
    rows, omitted = group(table, by, measures)
    for row in rows:
        row["value"] = shortened(row["value"])
    return {
        "by": table.columns[by].name,
        "is_default": "group_by" not in arguments,
        "rows": rows,
        "omitted": omitted,
    }


def _shortened(facts: dict[str, Any]) -> dict[str, Any]:
    facts["name"] = shortened(facts["name"])
    for entry in facts.get("top", ()):
        entry["value"] = shortened(entry["value"])
    return facts
