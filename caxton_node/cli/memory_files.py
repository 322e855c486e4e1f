"""`caxton memory export|import|restore`: memory as files."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, TextIO

import click

from caxton_node.cli.client import Client, connect, path_of
from caxton_node.cli.memory import memory, whose
from caxton_node.cli.node_options import Flags, node_options
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted
from caxton_node.domain.errors import Rejected

__all__ = ["export", "import_", "memory", "restore"]

PAGE: Final = 500
RECORDS_AT_ONCE: Final = 500
LINE_LENGTH_MAX: Final = 1_000_000


@memory.command("export")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@whose
@click.option("--all", "is_all", is_flag=True, help="Of all scopes of the node.")
@click.option("--embeddings", is_flag=True, help="With their vectors.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("jsonl", "json")),
    help="One record a line, or one document. [default: by the file's ending, else jsonl]",
)
@pass_session
def export(
    session: Session,
    file: str,
    agent: str | None,
    scope: str | None,
    is_all: bool,
    embeddings: bool,
    form: str | None,
) -> None:
    """Write memory to a file as it is read, with its history; `-` is the standard output."""
    from caxton_node.memory.transfer import header_record

    client = connect(session)
    query = {"agent": agent, "scope": scope, "embeddings": embeddings, "everything": is_all}
    is_document = form == "json" or (form is None and file.endswith(".json"))
    begin, between, end = ("", "\n", "\n")
    if is_document:
        begin, between, end = ('{"items":[\n', ",\n", "\n]}\n")
    count = 0
    opened = nullcontext(sys.stdout) if file == "-" else open(file, "w", encoding="utf-8")  # noqa: SIM115 - entered below
    with opened as out:
        out.write(begin + _line(header_record(time.time_ns() // 1_000_000)))
        for part in ("facts", "relations"):
            for record in _records(client, {**query, "part": part}):
                out.write(between + _line(record))
                count += 1
        out.write(end)
    session.output.note(f"{counted(count, 'record')} exported")


def _line(record: Any) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _records(client: Client, query: dict[str, Any]) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = client.get(path_of("memory", "export"), {**query, "limit": PAGE, "cursor": cursor})
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@memory.command("import")
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@whose
@click.option("--own-scopes", is_flag=True, help="Each record goes to the scope that it names.")
@pass_session
def import_(
    session: Session, file: str, agent: str | None, scope: str | None, own_scopes: bool
) -> None:
    """Remember what is in a file: an export, lines of the MCP memory server, a Letta agent file.

    What is known already changes nothing, so an import that was interrupted is simply repeated.
    """
    client = connect(session)
    totals = {"facts": 0, "new": 0, "relations": 0}
    whose_it_is = {"agent": agent, "scope": scope, "own_scopes": own_scopes}
    opened = nullcontext(sys.stdin) if file == "-" else open(file, encoding="utf-8")  # noqa: SIM115 - entered below
    with opened as lines:
        batch: list[Any] = []
        for record in _read(lines):
            batch.append(record)
            if len(batch) == RECORDS_AT_ONCE:
                _send(client, batch, whose_it_is, totals)
                batch = []
        if batch:
            _send(client, batch, whose_it_is, totals)
    if session.output.is_json:
        session.output.document(totals)
        return
    session.output.done(
        f"{counted(totals['facts'], 'fact')} imported, {totals['new']} of them new; "
        f"{counted(totals['relations'], 'relation')}"
    )


def _send(
    client: Client, records: list[Any], whose_it_is: dict[str, Any], totals: dict[str, int]
) -> None:
    body = {"records": records, **whose_it_is}
    done = client.call("POST", path_of("memory", "import"), body=body)
    for name in totals:
        totals[name] += done[name]


def _read(lines: TextIO) -> Iterator[Any]:
    """Yield the records of a file: one a line, or those of one JSON document.

    Raises:
        Rejected: `invalid_request`: a line is no JSON.
    """
    first = lines.readline(LINE_LENGTH_MAX)
    try:
        record = json.loads(first)
    except ValueError:
        yield from _of_document(first + lines.read())
        return
    yield from _of_value(record)
    for number, line in enumerate(iter(lambda: lines.readline(LINE_LENGTH_MAX), ""), start=2):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise Rejected("invalid_request", f"line {number} is no JSON: {error}") from None


def _of_document(text: str) -> Iterator[Any]:
    try:
        yield from _of_value(json.loads(text))
    except ValueError as error:
        raise Rejected("invalid_request", f"the file holds no JSON: {error}") from None


def _of_value(value: Any) -> Iterator[Any]:
    """Yield the records of a JSON value: a list, an export's page, an agent file, or itself."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and "type" not in value:
        # MCP's memory as one document has `entities` and `relations`; Letta's files have blocks.
        for key in ("items", "records", "entities", "relations", "blocks", "core_memory"):
            found = value.get(key)
            if isinstance(found, list):
                for one in found:
                    kind = {"entities": "entity", "relations": "relation"}.get(key)
                    yield {"type": kind, **one} if kind and isinstance(one, dict) else one
    else:
        yield value


@memory.command("restore")
@click.argument(
    "backup", metavar="BACKUP", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@node_options(with_log=False)
@pass_session
def restore(session: Session, backup: Path, *, flags: Flags) -> None:
    """Put a backup in the place of this machine's memory. The node must be stopped."""
    from caxton_node.cli.node_settings import load
    from caxton_node.memory.database import MemoryFile
    from caxton_node.memory_engines import MEMORY_FILE

    settings = load(flags).settings
    file = MemoryFile(settings.node.data_dir / MEMORY_FILE)
    aside = file.put_in_place(backup)
    session.output.done(f"{backup} is the memory now")
    if aside.exists():
        session.output.note(f"What was there is kept as {aside}")
