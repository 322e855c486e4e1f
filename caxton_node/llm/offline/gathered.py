"""What this turn has gathered: calls made, data kept, columns known, all read from the context.

The provider keeps no state between calls of itself; whatever it knows of the turn stands in the
messages. Only what follows the last message of the user belongs to this turn.

Numbers in results are kept as the text they were written in, so that an answer repeats `1.10`
as `1.10`.
"""

import csv
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.llm.model import ChatMessage

__all__ = ["Gathered", "Held", "Literal", "Result", "Table", "gather"]

DEPTH_MAX: Final = 12
"""How deeply results are looked into."""

ITEM_COUNT_MAX: Final = 2_000
"""Values of one result that are looked at for tables."""

TABLE_COLUMN_MAX: Final = 200

CSV_LENGTH_MAX: Final = 20_000
"""Characters of a CSV file's beginning that are read for its head."""

_NUMERIC: Final = ("int", "float", "number", "numeric", "decimal", "double", "real", "integer")


class Literal(str):
    """A JSON number as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A piece of data that the conversation keeps."""

    handle: str
    media_type: str
    is_taken: bool = False
    """A later call was given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns that a result named."""

    names: tuple[str, ...]
    numeric: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One call of this turn and what it came to."""

    tool: str
    arguments: Mapping[str, Any]
    value: Any
    """Parsed, if it is JSON; numbers are `Literal`."""
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All of it."""

    results: tuple[Result, ...] = ()
    held: tuple[Held, ...] = ()
    """In the order in which it was kept."""
    table: Table | None = None
    """The last one that was named."""

    def has_called(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Tell whether this very call was made before."""
        return any(
            result.tool == tool and _canonical(result.arguments) == _canonical(arguments)
            for result in self.results
        )


def gather(messages: Sequence[ChatMessage]) -> Gathered:
    """Read the calls and results after the user's last message. Never raises."""
    begins_at = 0
    for index, message in enumerate(messages):
        if message.role == "user":
            begins_at = index + 1
    calls: dict[str, tuple[str, Mapping[str, Any]]] = {}
    results: list[Result] = []
    for message in messages[begins_at:]:
        for call in message.tool_calls:
            calls[call.id] = (call.name, call.arguments)
        if message.role == "tool":
            name, arguments = calls.get(
                message.tool_call_id or "", (message.tool_name or "tool", {})
            )
            value = _parsed(message.content)
            is_error = isinstance(value, Mapping) and bool(value.get("error"))
            results.append(Result(tool=name, arguments=arguments, value=value, is_error=is_error))
    return Gathered(results=tuple(results), held=_held(results), table=_table(results))


def _held(results: Sequence[Result]) -> tuple[Held, ...]:
    media_types: dict[str, str] = {}
    for result in results:
        for value in _walk(result.value):
            if isinstance(value, Mapping):
                handle, media_type = value.get("artifact"), value.get("media_type")
                if isinstance(handle, str) and isinstance(media_type, str):
                    media_types.setdefault(handle, media_type.partition(";")[0].strip().lower())
    taken = {
        value
        for result in results
        for value in _walk(dict(result.arguments))
        if isinstance(value, str)
    }
    return tuple(
        Held(handle=handle, media_type=media_type, is_taken=handle in taken)
        for handle, media_type in media_types.items()
    )


def _table(results: Sequence[Result]) -> Table | None:
    for result in reversed(results):
        for value in _walk(result.value):
            if isinstance(value, Mapping):
                table = _columns(value.get("columns")) or _csv_columns(value)
                if table is not None:
                    return table
    return None


def _columns(value: Any) -> Table | None:
    """Read `[{"name": …, "type": …}, …]` or `["name", …]`."""
    if not isinstance(value, list) or not value:
        return None
    names: list[str] = []
    numeric: set[str] = set()
    for column in value[:TABLE_COLUMN_MAX]:
        if isinstance(column, str) and not isinstance(column, Literal):
            names.append(column)
        elif isinstance(column, Mapping) and isinstance(column.get("name"), str):
            names.append(column["name"])
            if str(column.get("type", "")).lower().startswith(_NUMERIC):
                numeric.add(column["name"])
    return Table(names=tuple(names), numeric=frozenset(numeric)) if names else None


def _csv_columns(value: Mapping[str, Any]) -> Table | None:
    """Read the head of a CSV file that a result shows the beginning of."""
    if not str(value.get("media_type", "")).lower().startswith("text/csv"):
        return None
    shown = next((value[key] for key in _SHOWN if isinstance(value.get(key), str)), "")
    try:
        rows = list(itertools.islice(csv.reader(shown[:CSV_LENGTH_MAX].splitlines()), 2))
    except csv.Error:
        return None
    if len(rows) < 2 or len(rows[0]) < 2 or not all(name.strip() for name in rows[0]):
        return None
    names = tuple(name.strip() for name in rows[0])
    numeric = {
        name
        for name, cell in zip(names, rows[1], strict=False)
        if _CELL_NUMBER.fullmatch(cell.strip())
    }
    return Table(names=names[:TABLE_COLUMN_MAX], numeric=frozenset(numeric))


_SHOWN: Final = ("text", "preview", "content", "body")
_CELL_NUMBER: Final = re.compile(r"[-+]?\d{1,18}(?:\.\d{0,18})?")


def _walk(value: Any) -> Iterator[Any]:
    """Yield `value` and what is in it, outermost first, within the limits."""
    layer = [value]
    count = 0
    for _ in range(DEPTH_MAX):
        inner: list[Any] = []
        for item in layer:
            count += 1
            if count > ITEM_COUNT_MAX:
                return
            yield item
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        layer = inner


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=Literal, parse_float=Literal, parse_constant=Literal)
    except (ValueError, RecursionError):
        return text


def _canonical(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, default=str)
