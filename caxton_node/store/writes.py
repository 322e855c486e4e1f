"""Ordinary writes of a batch: rows of a kind together, the others one by one, in order.

Runs in the writer's thread, inside the batch's transaction. Steps, usage and log lines do not
depend on each other's order, so those between two single writes are one statement a kind.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from caxton_node.domain.errors import Bug, CaxtonError, Conflict
from caxton_node.store.batch import RowKind, RowsWrite, Write
from caxton_node.store.protocol import AgentRecord, AgentVersion, Definition

__all__ = [
    "LOG_LINES_MAX",
    "delete_agent",
    "delete_definitions",
    "delete_node_number",
    "drop_message",
    "prune_messages",
    "put_agent",
    "put_definition",
    "put_node_number",
    "revive_message",
    "run_writes",
]

LOG_LINES_MAX: Final = 1_000
"""Lines that an agent's log keeps."""

_ORPHANED_STEPS_MAX: Final = 1_000
"""Steps without a message that one pruning removes."""

Queries = Mapping[str, str]


def run_writes(
    connection: sqlite3.Connection, queries: Queries, writes: Sequence[Write]
) -> list[Any]:
    """Do all writes; return their results in order, an exception for one that failed alone.

    Raises:
        sqlite3.Error: The file cannot be written; the transaction must be rolled back.
    """
    results: list[Any] = []
    commuting: list[RowsWrite] = []
    for write in writes:
        if isinstance(write, RowsWrite):
            commuting.append(write)
            results.append(None)
        else:
            _run_rows(connection, queries, commuting)
            commuting = []
            results.append(_run_single(connection, write.apply))
    _run_rows(connection, queries, commuting)
    return results


def _run_single(connection: sqlite3.Connection, apply: Any) -> Any:
    try:
        return apply(connection)
    except CaxtonError as error:
        return error
    except sqlite3.IntegrityError as error:
        return Bug("internal", f"A write broke a rule of the schema: {error}")


def _run_rows(
    connection: sqlite3.Connection, queries: Queries, writes: Iterable[RowsWrite]
) -> None:
    rows: dict[RowKind, list[Sequence[Any]]] = {}
    data: list[bytes] = []
    offset = 1
    for write in writes:
        of_kind = rows.setdefault(write.kind, [])
        if write.kind is RowKind.STEP:
            of_kind += [(offset, len(write.blob), *row) for row in write.rows]
            data.append(write.blob)
            offset += len(write.blob)
        else:
            of_kind += write.rows
    for kind, of_kind in rows.items():
        parameters: dict[str, Any] = {"rows": orjson.dumps(of_kind).decode()}
        match kind:
            case RowKind.STEP:
                connection.execute(queries["put_steps"], parameters | {"data": b"".join(data)})
            case RowKind.USAGE:
                connection.execute(queries["add_usage_by_conversation"], parameters)
                connection.execute(queries["add_usage_by_day"], parameters)
            case RowKind.LOG:
                connection.execute(queries["put_log"], parameters)
                connection.execute(queries["trim_log"], parameters | {"kept": LOG_LINES_MAX})


def put_agent(
    connection: sqlite3.Connection,
    queries: Queries,
    record: AgentRecord,
    version: AgentVersion | None,
) -> None:
    """Write an agent's state and, with it, a new version.

    Raises:
        Conflict: `already_exists`: the agent has a version of that number.
    """
    if version is not None:
        key = {"agent": version.agent, "number": version.number}
        if connection.execute(queries["has_version"], key).fetchone()[0]:
            raise Conflict(
                "already_exists", f"{version.agent} already has a version {version.number}."
            )
    connection.execute(
        queries["put_agent"],
        {
            "name": record.name,
            "state": record.state.value,
            "current": record.current,
            "changed_at": record.changed_at,
            "revision": record.revision,
            "epoch": record.epoch,
            "is_here": record.is_here,
            "replicas": record.replicas,
            "placement": record.placement,
        },
    )
    if version is not None:
        connection.execute(
            queries["put_version"],
            {
                "agent": version.agent,
                "number": version.number,
                "version": version.version,
                "source": version.source,
                "format": version.format,
                "digest": version.digest,
                "deployed_at": version.deployed_at,
            },
        )


def put_definition(
    connection: sqlite3.Connection, queries: Queries, definition: Definition
) -> None:
    """Keep a definition of another node's agent, once."""
    connection.execute(
        queries["put_definition"],
        {
            "digest": definition.digest,
            "format": definition.format,
            "source": definition.source,
        },
    )


def delete_definitions(
    connection: sqlite3.Connection, queries: Queries, digests: Sequence[str]
) -> int:
    """Forget definitions that no node's agent has any more; return how many there were."""
    wanted = orjson.dumps(list(digests)).decode()
    return connection.execute(queries["delete_definitions"], {"digests": wanted}).rowcount


def put_node_number(
    connection: sqlite3.Connection, queries: Queries, name: str, value: int
) -> None:
    """Write a number of the node's own."""
    connection.execute(queries["put_node_number"], {"name": name, "value": value})


def delete_node_number(connection: sqlite3.Connection, queries: Queries, name: str) -> None:
    """Forget a number of the node's own."""
    connection.execute(queries["delete_node_number"], {"name": name})


def delete_agent(connection: sqlite3.Connection, queries: Queries, agent: str) -> bool:
    """Delete an agent with all that is its own; False if there was none."""
    return connection.execute(queries["delete_agent"], {"name": agent}).rowcount > 0


def revive_message(
    connection: sqlite3.Connection, queries: Queries, message_id: str, seq: int
) -> bool:
    """Give a dead message a new number and make it accepted; False if it is not dead.

    What had begun and was not done is forgotten: whoever wants it tried again has looked.
    """
    if connection.execute(queries["revive"], {"id": message_id, "seq": seq}).rowcount == 0:
        return False
    connection.execute(queries["forget_begun_steps"], {"id": message_id})
    return True


def drop_message(connection: sqlite3.Connection, queries: Queries, message_id: str) -> bool:
    """Delete a dead message; False if it is not dead."""
    return connection.execute(queries["drop"], {"id": message_id}).rowcount > 0


def prune_messages(
    connection: sqlite3.Connection, queries: Queries, seqs: Sequence[int], before: int
) -> int:
    """Delete those of `seqs` that are settled since before an instant; return how many."""
    parameters = {"seqs": orjson.dumps(seqs).decode(), "before": before}
    deleted = connection.execute(queries["prune"], parameters).rowcount
    connection.execute(queries["prune_steps"], {"before": before, "limit": _ORPHANED_STEPS_MAX})
    return deleted
