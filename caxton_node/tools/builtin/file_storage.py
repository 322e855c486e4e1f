"""`file_storage`: the agent's own files, which outlive its conversations.

One tool for reading and writing, so its flags describe the worst that it can do: a provider that
only guesses does not call it at all.
"""

import asyncio
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from caxton_node.domain.errors import Denied
from caxton_node.domain.quantities import parse_size_bytes
from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.builtin.table_input import artifact_parameter
from caxton_node.tools.media import INLINE_BYTES_MAX, find_media_type, inline_text
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes
from caxton_node.tools.own_files import FileError, FileLimits, OwnFiles, parse_path
from caxton_node.tools.tool import ToolContext

__all__ = ["FileStorage"]

FOLDER_NAME: Final = "files"
LISTED_MAX: Final = 100
PREVIEW_LENGTH: Final = 500


class FileStorage:
    """Reads and writes below the agent's `files` folder."""

    spec = ToolSpec(
        name="file_storage",
        description=(
            "Keep files in the agent's own folder: read, write, append, list, delete, exists. "
            "Paths are relative, such as `reports/may.csv`. Reading returns a handle; writing "
            "takes `content` (text) or the handle of an artifact."
        ),
        parameters={
            "type": "object",
            "properties": {
                "operation": {
                    "type": "string",
                    "enum": ["read", "write", "append", "list", "delete", "exists"],
                    "description": "What to do.",
                },
                "path": {
                    "type": "string",
                    "maxLength": 1_000,
                    "description": "The file; for list, the beginning of the paths to show.",
                },
                "content": {
                    "type": "string",
                    "maxLength": 1_000_000,
                    "description": "For write and append: the text.",
                },
                "artifact": artifact_parameter(
                    "For write and append, instead of `content`: handle of the data.", ("*/*",)
                ),
            },
            "required": ["operation"],
            "additionalProperties": False,
        },
        is_destructive=True,
        produces=("text/plain", "text/csv", "application/json"),
        config_schema={
            "type": "object",
            "properties": {
                "max_file_size": {"type": ["string", "integer"], "format": "x-bytes", "minimum": 1},
                "allowed_extensions": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1},
                    "maxItems": 100,
                },
            },
            "additionalProperties": False,
        },
    )

    def __init__(self, limits: FileLimits | None = None) -> None:
        self._limits = limits or FileLimits()

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do `operation`.

        Raises:
            Denied: `tool_denied`, for an agent that may not have files.
        """
        if context.permissions.files != "own":
            raise Denied("tool_denied", f"{context.agent} may not use files (permissions.files).")
        files = OwnFiles(context.folder / FOLDER_NAME, self._limits_of(context))
        operation, path = arguments["operation"], arguments.get("path", "")
        try:
            if operation == "list":
                return await _list(files, path)
            _check_extension(parse_path(path)[-1], context)
            match operation:
                case "read":
                    return await _read(files, path, context)
                case "write" | "append":
                    return await _write(files, operation, path, await _data(arguments, context))
                case "delete":
                    is_deleted = await asyncio.to_thread(files.delete, path)
                    return ToolResult(content={"path": path, "deleted": is_deleted})
                case _:
                    size_bytes = await asyncio.to_thread(files.size, path)
        except FileError as error:
            raise Mistake(str(error)) from error
        except OSError as error:
            raise Mistake(f"{path!r}: {error.strerror or error}.") from error
        found = {} if size_bytes is None else {"size_bytes": size_bytes}
        return ToolResult(content={"path": path, "exists": size_bytes is not None} | found)

    def _limits_of(self, context: ToolContext) -> FileLimits:
        told = parse_size_bytes(str(context.config.get("max_file_size", "")))
        return FileLimits(
            file_bytes_max=min(told or self._limits.file_bytes_max, self._limits.file_bytes_max),
            total_bytes_max=self._limits.total_bytes_max,
            file_count_max=self._limits.file_count_max,
        )


def _check_extension(name: str, context: ToolContext) -> None:
    allowed = context.config.get("allowed_extensions")
    if allowed is None:
        return
    suffixes = {f".{extension.lower().lstrip('.')}" for extension in allowed}
    if PurePosixPath(name.lower()).suffix not in suffixes:
        raise Mistake(f"{name!r} must end with one of {', '.join(sorted(suffixes))}.")


async def _data(arguments: Mapping[str, Any], context: ToolContext) -> bytes:
    if ("content" in arguments) == ("artifact" in arguments):
        raise Mistake("Give exactly one of `content` and `artifact`.")
    if "content" in arguments:
        return str(arguments["content"]).encode("utf-8", "replace")
    _, data = await context.artifacts.get(arguments["artifact"])
    return data


async def _write(files: OwnFiles, operation: str, path: str, data: bytes) -> ToolResult:
    if operation == "append":
        size_bytes = await asyncio.to_thread(files.append, path, data)
        return ToolResult(content={"path": path, "size_bytes": size_bytes})
    was_there = await asyncio.to_thread(files.write, path, data)
    return ToolResult(content={"path": path, "size_bytes": len(data), "overwritten": was_there})


async def _read(files: OwnFiles, path: str, context: ToolContext) -> ToolResult:
    data = await asyncio.to_thread(files.read, path)
    name = PurePosixPath(path).name
    media_type = find_media_type("", name, data)
    artifact = await context.artifacts.put(name=name, media_type=media_type, data=data)
    content = {"path": path} | kept(artifact)
    text = inline_text(media_type, data)
    if text is not None:
        content["preview"] = text[:PREVIEW_LENGTH]
        if len(data) <= INLINE_BYTES_MAX:
            content["text"] = text
    return ToolResult(content=content, artifacts=(artifact,))


async def _list(files: OwnFiles, prefix: str) -> ToolResult:
    found = await asyncio.to_thread(files.list, prefix)
    return ToolResult(
        content={
            "files": [
                {"path": file.path, "size_bytes": file.size_bytes} for file in found[:LISTED_MAX]
            ],
            "total": len(found),
        }
    )
