"""How a tool gets its table: from an artifact in any form that holds one, or from JSON inline."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from caxton_node.domain.tool import Artifact
from caxton_node.tools.csv_text import CsvOptions, read_csv
from caxton_node.tools.outcome import Mistake
from caxton_node.tools.table import (
    TABLE_MEDIA_TYPE,
    Table,
    TableError,
    decode_table,
    table_from_json,
)
from caxton_node.tools.tool import ToolContext

__all__ = ["TABLE_MEDIA_TYPES", "artifact_parameter", "column_index", "read_table", "run_apart"]

TABLE_MEDIA_TYPES: Final = (TABLE_MEDIA_TYPE, "text/csv", "application/json")

THREAD_BYTES_MIN: Final = 65_536
"""Smaller data is dealt with faster on the loop than a thread is woken."""

Result = TypeVar("Result")


def artifact_parameter(description: str, media_types: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema of a parameter that takes a handle."""
    return {
        "type": "string",
        "format": "artifact",
        "x-media-types": list(media_types),
        "description": description,
    }


async def run_apart(size_bytes: int, work: Callable[[], Result]) -> Result:
    """Do `work` on `size_bytes` of data: in a thread, unless it is little."""
    if size_bytes < THREAD_BYTES_MIN:
        return work()
    return await asyncio.to_thread(work)


async def read_table(arguments: Mapping[str, Any], context: ToolContext) -> tuple[Table, int]:
    """Return the table that `artifact`, `data` or `values` gives, and its size in bytes.

    Raises:
        Mistake: There is no table in it.
        Failed: `tool_failed`, for a handle that names nothing.
    """
    try:
        if "artifact" in arguments:
            artifact, data = await context.artifacts.get(arguments["artifact"])
            return await run_apart(len(data), lambda: _decode(artifact, data)), len(data)
        value = arguments["data"] if "data" in arguments else arguments.get("values")
        # What came inline fits into a message; it is small.
        return table_from_json(value), 0
    except TableError as error:
        raise Mistake(str(error)) from error


def column_index(table: Table, name: str) -> int:
    """Return the place of a column.

    Raises:
        Mistake: There is none of that name; it tells which there are.
    """
    index = table.index(name)
    if index is None:
        names = [column.name for column in table.columns]
        raise Mistake(
            f"There is no column {name[:80]!r}.",
            hint="The columns are: " + ", ".join(names[:50]) + ("…" if len(names) > 50 else "."),
        )
    return index


def _decode(artifact: Artifact, data: bytes) -> Table:
    media_type = artifact.media_type
    if media_type == TABLE_MEDIA_TYPE:
        return decode_table(data)
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return table_from_json(msgspec.json.decode(data))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise TableError(f"{artifact.handle} is no JSON: {error}") from error
    if media_type.startswith("text/") and media_type != "text/html":
        return read_csv(data, CsvOptions()).table
    raise TableError(f"{artifact.handle} is {media_type}; that holds no table.")
