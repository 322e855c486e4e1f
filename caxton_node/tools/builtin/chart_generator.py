"""`chart_generator`: a picture of a table, as SVG."""

from collections.abc import Mapping
from typing import Any

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import (
    TABLE_MEDIA_TYPES,
    artifact_parameter,
    column_index,
    read_table,
    run_apart,
)
from caxton_node.tools.chart import (
    Aggregate,
    ChartData,
    ChartError,
    ChartKind,
    choose_data,
    draw_svg,
)
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes
from caxton_node.tools.table import Table
from caxton_node.tools.tool import ToolContext

__all__ = ["ChartGenerator"]

SVG: str = "image/svg+xml"


class ChartGenerator:
    """Draws tables."""

    spec = ToolSpec(
        name="chart_generator",
        description=(
            "Draw a bar, line, pie, scatter or histogram chart of a table as an SVG picture. "
            "Rows of the same category are added up. Returns the handle and the path of the file."
        ),
        parameters={
            "type": "object",
            "properties": {
                "artifact": artifact_parameter(
                    "Handle of a table, or of CSV or JSON data.", TABLE_MEDIA_TYPES
                ),
                "data": {
                    "type": ["array", "object"],
                    "minItems": 1,
                    "maxItems": 100_000,
                    "description": "Instead of an artifact: a list of objects, a list of numbers, "
                    "or an object of labels and numbers.",
                },
                "kind": {
                    "type": "string",
                    "enum": [kind.value for kind in ChartKind],
                    "default": "bar",
                    "description": "What the picture looks like.",
                },
                "x": {
                    "type": "string",
                    "description": "Column of the categories, or of the first coordinate.",
                },
                "y": {"type": "string", "description": "Column of the numbers."},
                "aggregate": {
                    "type": "string",
                    "enum": [aggregate.value for aggregate in Aggregate],
                    "default": "sum",
                    "description": "How rows of one category become one number.",
                },
                "title": {"type": "string", "maxLength": 200, "description": "Over the picture."},
                "bins": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 50,
                    "description": "Of a histogram. Found from the data when absent.",
                },
            },
            "x-exactly-one-of": ["artifact", "data"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=(SVG,),
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Draw the chart and keep it."""
        table, size_bytes = await read_table(arguments, context)
        # Drawing is slow work even for little data: never on the loop.
        data, svg = await run_apart(max(size_bytes, 1 << 20), lambda: _draw(table, arguments))
        artifact = await context.artifacts.put(
            name=f"{data.kind.value}-chart.svg", media_type=SVG, data=svg
        )
        content = kept(artifact) | {
            "kind": data.kind.value,
            "title": data.title,
            "x": data.x_name,
            "y": data.y_name,
            "points": data.point_count,
            "path": str(context.artifacts.path(artifact.handle)),
        }
        if data.omitted:
            content["omitted"] = data.omitted
        return ToolResult(content=content, artifacts=(artifact,))


def _draw(table: Table, arguments: Mapping[str, Any]) -> tuple[ChartData, bytes]:
    try:
        data = choose_data(
            table,
            kind=ChartKind(arguments.get("kind", "bar")),
            x=column_index(table, arguments["x"]) if "x" in arguments else None,
            y=column_index(table, arguments["y"]) if "y" in arguments else None,
            aggregate=Aggregate(arguments.get("aggregate", "sum")),
            title=arguments.get("title", ""),
            bin_count=arguments.get("bins"),
        )
    except ChartError as error:
        raise Mistake(str(error)) from error
    return data, draw_svg(data)
