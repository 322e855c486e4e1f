"""The manifest of an MCP server in WebAssembly: TOML in, a checked specification out.

Reference: docs/reference/wasm-manifest.md, "An MCP server".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.agentfile.guest_rows import GRANT_ROWS, GUEST_LIMIT_ROWS, WASM_ROWS
from caxton_node.agentfile.rules import Version
from caxton_node.documents.decode import decode_source
from caxton_node.documents.document import Document, Flaw, Unreadable, dotted
from caxton_node.documents.document import Path as DocumentPath
from caxton_node.documents.nearest import nearest
from caxton_node.documents.readers import Duration, Flawed, Reader, Table, Text
from caxton_node.documents.toml_source import read_toml
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.wasm import GrantSettings, GuestLimits, ToolServerSpec, WasmSettings

__all__ = ["SERVER_NAME", "parse_server_manifest"]

SERVER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)

_RENAMED: Final = {"host_call_rate": "host_calls_per_s"}

_TOP: Final[Mapping[str, tuple[str, Reader]]] = {
    "name": (
        "name",
        Text(length_max=64, pattern=SERVER_NAME, form="a name of letters, digits, - and _"),
    ),
    "version": ("version", Version()),
    "description": ("description", Text(length_max=500, is_blank_allowed=True)),
    "parameters": ("parameters", Table(name="a table of values")),
}
_TABLES: Final[Mapping[str, Mapping[str, tuple[str, Reader]]]] = {
    "wasm": {row.key: (row.target, row.reader) for row in WASM_ROWS},
    "grants": {row.key: (row.target, row.reader) for row in GRANT_ROWS},
    "limits": {
        "time": ("time_s", Duration(maximum_s=3_600.0)),
        **{row.key: (_RENAMED.get(row.target, row.target), row.reader) for row in GUEST_LIMIT_ROWS},
    },
}


@dataclass(slots=True)
class _Reading:
    document: Document
    file: str | None
    places: list[Place]

    def flaw(self, path: DocumentPath, flaw: Flaw) -> None:
        path = (*path, *flaw.within)
        line, column = self.document.place_of(path) or (None, None)
        field = dotted(path)
        self.places.append(
            Place(
                f"`{field}` {flaw.message}",
                field=field,
                file=self.file,
                line=line,
                column=column,
                rule=flaw.rule,
                fix=flaw.fix,
            )
        )

    def read(
        self, path: DocumentPath, values: Mapping[str, Any], rows: Mapping[str, tuple[str, Reader]]
    ) -> dict[str, Any]:
        """Return the values of a table under their names in the specification."""
        made: dict[str, Any] = {}
        for key, value in values.items():
            row = rows.get(key)
            if row is None:
                near = nearest(key, [*rows, *(_TABLES if not path else ())])
                fix = f'Did you mean "{near}"?' if near else "Remove it"
                self.flaw(
                    (*path, key), Flaw("is no key of a server's manifest", "unknown_key", fix)
                )
                continue
            target, reader = row
            try:
                made[target] = reader.read(value)
            except Flawed as error:
                for flaw in error.flaws:
                    self.flaw((*path, key), flaw)
        return made


def parse_server_manifest(source: str, *, file: str | None = None) -> ToolServerSpec:
    """Read and check the manifest of an MCP server.

    Args:
        source: TOML.
        file: Its name, for errors.

    Raises:
        Rejected: `invalid_module`, with every mistake at its place.
    """
    try:
        document = read_toml(decode_source(source))
    except Unreadable as error:
        place = Place(error.flaw.message, file=file, line=error.line, column=error.column)
        raise Rejected("invalid_module", "The manifest cannot be read", places=[place]) from None
    reading = _Reading(document, file, [])
    values = dict(document.values)
    tables: dict[str, dict[str, Any]] = {}
    for name, rows in _TABLES.items():
        table = values.pop(name, {})
        if not isinstance(table, Mapping):
            reading.flaw((name,), Flaw("must be a table", "wrong_type"))
            table = {}
        tables[name] = reading.read((name,), table, rows)
    top = reading.read((), values, _TOP)
    for key, is_there in (("name", "name" in values), ("wasm.sha256", "sha256" in tables["wasm"])):
        if not is_there and not reading.places:
            reading.flaw(tuple(key.split(".")), Flaw("is missing", "required"))
    if reading.places:
        raise Rejected("invalid_module", "The manifest has mistakes", places=reading.places[:50])
    return ToolServerSpec(
        **top,
        wasm=WasmSettings(**tables["wasm"]),
        limits=GuestLimits(**tables["limits"]),
        grants=GrantSettings(**tables["grants"]),
    )
