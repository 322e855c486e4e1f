"""`template_engine`: fills a text with values, row by row if they are a table. It computes nothing.

For letters, reports and pages whose form is fixed: a model chooses the values, not the wording
around them.
"""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import artifact_parameter, read_table, run_apart
from caxton_node.tools.media import INLINE_BYTES_MAX
from caxton_node.tools.mustache import TemplateError, parse_template, render_template
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes, shortened
from caxton_node.tools.query import QueryError, check_extent, load_json
from caxton_node.tools.table import TABLE_MEDIA_TYPE
from caxton_node.tools.tool import ToolContext

__all__ = ["TemplateEngine"]

TEMPLATE_LENGTH_MAX: Final = 100_000
JSON_BYTES_MAX: Final = 5_000_000
ROW_COUNT_MAX: Final = 100_000
PREVIEW_LENGTH: Final = 500
DATA_NAME: Final = "data"
"""Under which a template finds what came as an artifact."""


class TemplateEngine:
    """Renders Mustache without partials."""

    spec = ToolSpec(
        name="template_engine",
        description=(
            "Fill in a template: {{name}} is replaced by a value, {{#items}}…{{/items}} is "
            "repeated for each item of a list, {{^items}}…{{/items}} stands in where there is "
            "none. Values come as `values`, or as an artifact, whose rows or JSON are `data` in "
            "the template."
        ),
        parameters={
            "type": "object",
            "properties": {
                "template": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": TEMPLATE_LENGTH_MAX,
                    "description": "The text with its places for values.",
                },
                "values": {
                    "type": "object",
                    "description": "The values by name.",
                },
                "artifact": artifact_parameter(
                    "Handle of a table, or of JSON: `data` in the template.",
                    (TABLE_MEDIA_TYPE, "text/csv", "application/json"),
                ),
                "escape": {
                    "type": "string",
                    "enum": ["none", "html"],
                    "default": "none",
                    "description": "For a page: html makes values harmless in it.",
                },
                "missing": {
                    "type": "string",
                    "enum": ["error", "empty"],
                    "default": "error",
                    "description": "What a name without a value is: a mistake, or an empty text.",
                },
            },
            "required": ["template"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=("text/plain", "text/html"),
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Fill in `template`."""
        values = dict(arguments.get("values", {}))
        size_bytes = len(arguments["template"])
        if "artifact" in arguments:
            if DATA_NAME in values:
                raise Mistake("`data` is the artifact's; call that value something else.")
            values[DATA_NAME], data_bytes = await _data(arguments, context)
            size_bytes += data_bytes
        escape = arguments["escape"]

        def fill() -> str:
            check_extent(values)
            return render_template(
                parse_template(arguments["template"]),
                values,
                escape=escape,
                is_strict=arguments["missing"] == "error",
            )

        try:
            text = await run_apart(size_bytes, fill)
        except (TemplateError, QueryError) as error:
            raise Mistake(str(error), hint="The places are {{name}}; see `values`.") from error
        encoded = text.encode("utf-8", "replace")
        if len(encoded) <= INLINE_BYTES_MAX:
            return ToolResult(content={"text": text})
        is_page = escape == "html"
        artifact = await context.artifacts.put(
            name="page.html" if is_page else "text.txt",
            media_type="text/html" if is_page else "text/plain",
            data=encoded,
        )
        preview = {"preview": shortened(text, PREVIEW_LENGTH)}
        return ToolResult(content=kept(artifact) | preview, artifacts=(artifact,))


async def _data(arguments: Mapping[str, Any], context: ToolContext) -> tuple[Any, int]:
    """Return what an artifact holds as JSON values, and its size in bytes."""
    artifact, data = await context.artifacts.get(arguments["artifact"])
    if artifact.media_type == "application/json" or artifact.media_type.endswith("+json"):
        if len(data) > JSON_BYTES_MAX:
            raise Mistake(f"The data has {len(data):,} bytes; at most {JSON_BYTES_MAX:,}.")
        try:
            return await run_apart(len(data), lambda: load_json(data)), len(data)
        except QueryError as error:
            raise Mistake(f"{artifact.handle}: {error}") from error
    table, size_bytes = await read_table(arguments, context)
    if len(table.rows) > ROW_COUNT_MAX:
        raise Mistake(
            f"The table has {len(table.rows):,} rows; at most {ROW_COUNT_MAX:,}.",
            hint="Take a part of it, with csv_parser.",
        )
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows], size_bytes
