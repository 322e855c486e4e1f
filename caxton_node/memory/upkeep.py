"""What has to be looked after in the rows.

What lacks a vector, what lacks conclusions, how much there is, and whether index, vectors and
arena still say the same as the rows.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from caxton_node.memory.backend import MemoryStats, Unconsolidated, Unembedded
from caxton_node.memory.finding import observations_of_conversation, scope_rows
from caxton_node.memory.forgetting import is_index_clean
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.records import Scope

__all__ = [
    "check_rows",
    "count_rows",
    "embedding_text",
    "give_back",
    "unconsolidated_rows",
    "unembedded_rows",
]

FREE_SHARE_MAX: Final = 0.2
"""Of the file's pages. Beyond it some are given back to the disk."""

GIVEN_BACK_AT_ONCE: Final = 4_000
"""Pages: 16 MB, some tens of milliseconds in which nobody writes."""

EPISODES_MAX: Final = 50
"""Episodes of one conversation that are consolidated at once."""


def embedding_text(subject: str, text: str, context: str) -> str:
    """Return what an observation's vector is made of.

    What was said before belongs to it: an answer alone often does not name what it is about.
    """
    head = "" if subject.casefold() in text.casefold() else f"{subject}: "
    return f"{head}{text}\n{context}" if context else f"{head}{text}"


def unembedded_rows(connection: sqlite3.Connection, limit: int) -> list[Unembedded]:
    """Return observations without a vector of the model in use, newest first."""
    rows = connection.execute(
        "SELECT o.id, o.subject, o.text, o.context FROM unembedded u "
        "JOIN observations o ON o.id = u.observation ORDER BY u.observation DESC LIMIT ?",
        (limit,),
    )
    return [Unembedded(row, embedding_text(*texts)) for row, *texts in rows]


def unconsolidated_rows(
    connection: sqlite3.Connection, idle_before: int, limit: int
) -> list[Unconsolidated]:
    """Return conversations with new episodes in which nothing was said for a while."""
    rows = connection.execute(
        "SELECT u.scope, s.kind, s.workspace, s.agent, u.conversation, u.after "
        "FROM unconsolidated u JOIN scopes s ON s.id = u.scope "
        "WHERE u.last_at < ? ORDER BY u.last_at LIMIT ?",
        (idle_before, limit),
    ).fetchall()
    found = []
    for row, kind, workspace, agent, conversation, up_to in rows:
        scope = Scope(kind, workspace, agent)
        episodes = observations_of_conversation(
            connection, {row: scope}, conversation, after=up_to, limit=EPISODES_MAX
        )
        if not episodes:
            continue  # they are forgotten
        found.append(
            Unconsolidated(scope=scope, conversation_id=conversation, episodes=tuple(episodes))
        )
    return found


def count_rows(
    connection: sqlite3.Connection,
    keeper: ArenaKeeper,
    path: Path,
    scopes: Sequence[Scope] | None,
) -> MemoryStats:
    """Count what there is in scopes; None is all of them."""
    condition, parameters = "1", []
    if scopes is not None:
        condition = "scope IN (SELECT value FROM json_each(?))"
        parameters = [msgspec.json.encode(list(scope_rows(connection, scopes))).decode()]

    def count(query: str, *more: object) -> int:
        return int(connection.execute(query, [*more, *parameters]).fetchone()[0])

    by_scope = connection.execute(
        "SELECT s.kind, s.workspace, s.agent, count(*) FROM observations o "  # noqa: S608 - one of two constants
        f"JOIN scopes s ON s.id = o.scope WHERE o.{condition} GROUP BY o.scope"
        if scopes is not None
        else "SELECT s.kind, s.workspace, s.agent, count(*) FROM observations o "
        "JOIN scopes s ON s.id = o.scope GROUP BY o.scope",
        parameters,
    ).fetchall()
    arena = keeper.current
    return MemoryStats(
        entities=count(f"SELECT count(*) FROM entities WHERE {condition}"),  # noqa: S608 - one of two constants
        observations=count(f"SELECT count(*) FROM observations WHERE {condition}"),  # noqa: S608 - one of two constants
        current=count(
            f"SELECT count(*) FROM observations WHERE valid_to IS NULL AND {condition}"  # noqa: S608 - one of two constants
        ),
        relations=count(f"SELECT count(*) FROM relations WHERE {condition}"),  # noqa: S608 - one of two constants
        vectors=count(
            "SELECT count(*) FROM vectors v JOIN observations o ON o.id = v.observation "  # noqa: S608 - one of two constants
            f"WHERE v.model IS ? AND {condition}",
            keeper.model,
        ),
        in_arena=0 if arena is None else len(arena),
        arena_bytes=0 if arena is None else arena.size_bytes,
        file_bytes=path.stat().st_size,
        by_scope={str(Scope(*one)): number for *one, number in by_scope},
    )


def check_rows(connection: sqlite3.Connection, keeper: ArenaKeeper) -> list[str]:
    """Compare what is derived with the rows; mend it; return what was found.

    In the writer's thread, outside of a transaction.
    """
    findings = [
        f"damaged: {problem}"
        for (problem,) in connection.execute("PRAGMA quick_check(10)")
        if problem != "ok"
    ]
    if not is_index_clean(connection):
        connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
        findings.append("the word index differed from the rows; it was rebuilt")
    if keeper.model is not None:
        arena = keeper.current
        counted = connection.execute(
            "SELECT count(*) FROM vectors v JOIN observations o ON o.id = v.observation "
            "WHERE v.model = ? AND o.valid_to IS NULL",
            (keeper.model,),
        ).fetchone()[0]
        if arena is None or len(arena) != counted:
            keeper.rebuild(connection)
            findings.append("the arena differed from the rows; it was rebuilt")
    return findings


def give_back(connection: sqlite3.Connection) -> int:
    """Return pages to the disk where many are free, and move the log into the file.

    In the writer's thread, outside of a transaction, while nothing else is to be done.

    Returns:
        How many pages were given back.
    """
    (before,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > before * FREE_SHARE_MAX:
        # A step a page: fetching all of them is what makes it run to the end.
        connection.execute(f"PRAGMA incremental_vacuum({GIVEN_BACK_AT_ONCE})").fetchall()
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    (after,) = connection.execute("PRAGMA page_count").fetchone()
    return int(before - after)
