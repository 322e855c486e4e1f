"""`csv_parser`: delimited text becomes a table with typed columns."""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.quantities import parse_size_bytes
from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import artifact_parameter, run_apart
from caxton_node.tools.csv_text import CsvOptions, CsvReading, read_csv
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes, shortened
from caxton_node.tools.table import TABLE_MEDIA_TYPE, TableError, encode_table
from caxton_node.tools.tool import ToolContext

__all__ = ["CsvParser"]

COLUMNS_SHOWN_MAX: Final = 50
ROWS_SHOWN_MAX: Final = 5
FILE_SIZE_MAX: Final = "20MB"

_DELIMITER: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1,
    "enum": [",", ";", "\t", "|", ":", " "],
    "description": "What separates the cells. Found out when absent.",
}
_ENCODING: Final = {
    "type": "string",
    "enum": ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"],
    "description": "Found out when absent.",
}


class CsvParser:
    """Reads CSV, TSV and their relatives; keeps the table for the next tool."""

    spec = ToolSpec(
        name="csv_parser",
        description=(
            "Parse CSV or other delimited text into a table with typed columns. Returns the "
            "number of rows, each column's name and type, the first rows, and a handle to the "
            "table for statistics_engine or chart_generator."
        ),
        parameters={
            "type": "object",
            "properties": {
                "artifact": artifact_parameter(
                    "Handle of the text, as http_client or file_storage returned it.",
                    ("text/csv", "text/tab-separated-values", "text/plain"),
                ),
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1_000_000,
                    "description": "The text itself, when there is no artifact.",
                },
                "delimiter": _DELIMITER,
                "encoding": _ENCODING,
                "header": {
                    "type": "string",
                    "enum": ["auto", "present", "absent"],
                    "default": "auto",
                    "description": "Whether the first row names the columns.",
                },
            },
            "x-exactly-one-of": ["artifact", "text"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=(TABLE_MEDIA_TYPE,),
        config_schema={
            "type": "object",
            "properties": {
                "delimiter": _DELIMITER,
                "encoding": _ENCODING,
                "max_file_size": {"type": ["string", "integer"], "format": "x-bytes", "minimum": 1},
            },
            "additionalProperties": False,
        },
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Parse `artifact` or `text`."""
        options = CsvOptions(
            delimiter=arguments.get("delimiter", context.config.get("delimiter")),
            encoding=arguments.get("encoding", context.config.get("encoding")),
            header=arguments.get("header", "auto"),
        )
        name, data, options = await _input(arguments, context, options)
        size_max = parse_size_bytes(str(context.config.get("max_file_size", FILE_SIZE_MAX)))
        if size_max is not None and len(data) > size_max:
            raise Mistake(f"{name} has {len(data):,} bytes; at most {size_max:,} are parsed.")

        def parse() -> tuple[CsvReading, bytes]:
            reading = read_csv(data, options)
            return reading, encode_table(reading.table)

        try:
            reading, encoded = await run_apart(len(data), parse)
        except TableError as error:
            raise Mistake(str(error)) from error
        artifact = await context.artifacts.put(
            name=f"{name.rsplit('.', 1)[0]}.table.json", media_type=TABLE_MEDIA_TYPE, data=encoded
        )
        return ToolResult(content=kept(artifact) | _summary(reading), artifacts=(artifact,))


async def _input(
    arguments: Mapping[str, Any], context: ToolContext, options: CsvOptions
) -> tuple[str, bytes, CsvOptions]:
    if "artifact" in arguments:
        artifact, data = await context.artifacts.get(arguments["artifact"])
        return artifact.name, data, options
    # Text came through JSON: its encoding is no longer a question.
    data = arguments["text"].encode("utf-8", "replace")
    told = CsvOptions(delimiter=options.delimiter, encoding="utf-8", header=options.header)
    return "text.csv", data, told


def _summary(reading: CsvReading) -> dict[str, Any]:
    table = reading.table
    shown = table.columns[:COLUMNS_SHOWN_MAX]
    summary: dict[str, Any] = {
        "row_count": len(table.rows),
        "column_count": len(table.columns),
        "columns": [
            {
                "name": shortened(column.name),
                "type": column.type.value,
                "missing": len(table.rows) - len(table.values(index)),
            }
            for index, column in enumerate(shown)
        ],
        "preview": [
            {
                shortened(column.name): shortened(value)
                for column, value in zip(shown, row, strict=False)
            }
            for row in table.rows[:ROWS_SHOWN_MAX]
        ],
        "delimiter": reading.delimiter,
        "encoding": reading.encoding,
        "has_header": reading.has_header,
    }
    if len(table.columns) > len(shown):
        summary["columns_omitted"] = len(table.columns) - len(shown)
    if reading.blank_line_count:
        summary["blank_lines"] = reading.blank_line_count
    if reading.ragged_count:
        summary["ragged_rows"] = {
            "count": reading.ragged_count,
            "expected_cells": reading.expected_cell_count,
            "first": [{"line": row.line, "cells": row.cell_count} for row in reading.ragged],
            "treatment": "short rows end in missing values; long rows widened the table",
        }
    return summary
