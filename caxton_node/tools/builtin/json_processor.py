"""`json_processor`: find, pick and reshape in JSON with a JMESPath expression."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import artifact_parameter, run_apart
from caxton_node.tools.media import INLINE_BYTES_MAX
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes
from caxton_node.tools.query import (
    EXPRESSION_LENGTH_MAX,
    QueryError,
    check_extent,
    load_json,
    search,
)
from caxton_node.tools.tool import ToolContext

__all__ = ["JsonProcessor"]

PREVIEW_LENGTH: Final = 500
JSON_BYTES_MAX: Final = 20_000_000


class JsonProcessor:
    """Evaluates JMESPath."""

    spec = ToolSpec(
        name="json_processor",
        description=(
            "Find, pick and reshape values in JSON with a JMESPath expression, for example "
            "`items[?price > `10`].name` or `length(items)`. Without an expression it returns the "
            "data. Large results are kept as an artifact."
        ),
        parameters={
            "type": "object",
            "properties": {
                "artifact": artifact_parameter("Handle of JSON data.", ("application/json",)),
                "data": {"description": "Instead of an artifact: the JSON value itself."},
                "expression": {
                    "type": "string",
                    "default": "@",
                    "minLength": 1,
                    "maxLength": EXPRESSION_LENGTH_MAX,
                    "description": "JMESPath expression; `@` is everything.",
                },
            },
            "x-exactly-one-of": ["artifact", "data"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=("application/json",),
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Evaluate `expression`."""
        expression = arguments.get("expression", "@")
        data, size_bytes = b"", JSON_BYTES_MAX
        if "artifact" in arguments:
            _, data = await context.artifacts.get(arguments["artifact"])
            size_bytes = len(data)
            if size_bytes > JSON_BYTES_MAX:
                raise Mistake(f"The data has {size_bytes:,} bytes; at most {JSON_BYTES_MAX:,}.")

        def evaluate() -> tuple[Any, bytes]:
            if "artifact" in arguments:
                value = load_json(data)
            else:
                value = arguments["data"]
                check_extent(value)
            found = search(expression, value)
            return found, msgspec.json.encode(found)

        try:
            found, encoded = await run_apart(size_bytes, evaluate)
        except (QueryError, RecursionError, msgspec.MsgspecError, OverflowError) as error:
            raise Mistake(str(error), hint="See jmespath.org for the language.") from error
        content: dict[str, Any] = {"expression": expression, "type": _type_of(found)}
        if isinstance(found, list | dict):
            content["length"] = len(found)
        if len(encoded) <= INLINE_BYTES_MAX:
            return ToolResult(content=content | {"result": orjson.loads(encoded)})
        artifact = await context.artifacts.put(
            name="result.json", media_type="application/json", data=encoded
        )
        preview = encoded[: PREVIEW_LENGTH * 4].decode("utf-8", "replace")[:PREVIEW_LENGTH]
        return ToolResult(
            content=content | kept(artifact) | {"preview": preview}, artifacts=(artifact,)
        )


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
