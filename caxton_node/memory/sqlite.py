"""Memory in one SQLite file, with all current vectors in an arena beside it.

What it promises: when a write returns, it survives a crash of the process, and with `is_synced`
one of the machine, and every search that begins from then on sees it. The arena is rebuilt from
the rows at start. Scopes are conditions of every statement.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from caxton_node.domain.errors import Unavailable
from caxton_node.memory import finding, forgetting, graph, writing
from caxton_node.memory.backend import (
    EntityView,
    Exported,
    MemoryStats,
    Search,
    Unconsolidated,
    Unembedded,
    Words,
)
from caxton_node.memory.database import MemoryFile
from caxton_node.memory.finding import Filters, TermCounts
from caxton_node.memory.forgetting import ForgetProof, Selection
from caxton_node.memory.graph import GraphView, Walk
from caxton_node.memory.graph_reading import WantedGraphs, are_small, fill_graphs
from caxton_node.memory.keeper import ArenaKeeper
from caxton_node.memory.readers import MemoryReaders
from caxton_node.memory.records import Access, Entity, Hit, NewFact, NewRelation, Scope
from caxton_node.memory.searching import search_rows
from caxton_node.memory.upkeep import (
    check_rows,
    count_rows,
    give_back,
    unconsolidated_rows,
    unembedded_rows,
)
from caxton_node.memory.wording import fold
from caxton_node.memory.writer import Change, MemoryWriter
from caxton_node.memory.writing import Remembered

__all__ = ["SqliteMemory"]

ENTITY_OBSERVATIONS_MAX: Final = 1_000
"""Observations that one entity shows."""

SCOPES_KEPT_MAX: Final = 10_000
"""Of which the row is remembered."""

T = TypeVar("T")

ScopeRows = dict[int, Scope]


class SqliteMemory:
    """A `MemoryBackend` in a SQLite file.

    Args:
        path: The database file; its directory is made when missing.
        is_synced: Wait for the disk at every commit.
        reader_count: Connections, and threads, that read.
    """

    def __init__(self, path: Path, *, is_synced: bool = True, reader_count: int = 2) -> None:
        self._file = MemoryFile(path, is_synced=is_synced)
        self._readers = MemoryReaders(self._file, count=reader_count)
        self._keeper = ArenaKeeper()
        self._counts = TermCounts()
        self._wanted = WantedGraphs()
        self._writer: MemoryWriter | None = None
        self._is_suspect = False
        self._rows: dict[Scope, int] = {}
        """Of scopes that were read: they stay what they are while the file is open."""

    @property
    def trouble(self) -> str | None:
        """What is wrong with it; None when nothing is."""
        if self._writer is None:
            return "closed"
        return self._writer.trouble

    @property
    def needs_check(self) -> bool:
        """Whether a read failed, or the arena is not to be searched: `check` mends it."""
        is_stale = self._keeper.is_stale and self._keeper.model is not None
        return self._is_suspect or is_stale

    async def open(self) -> None:
        """Open or create, check and migrate.

        Raises:
            Conflict: `state_conflict`: another process has the file open.
            Rejected: `invalid_settings`: the file was written by a newer version.
            Unavailable: `storage_unavailable`: it cannot be opened, or it is damaged.
        """
        self._rows = {}
        # In a thread, because checking a large file takes a second.
        connection = await asyncio.to_thread(self._file.open)
        self._writer = MemoryWriter(connection, self._keeper.mark_stale)
        try:
            await self._readers.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Commit what waits, then release everything."""
        await self._readers.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        self._file.release()

    def put_in_place(self, backup: Path) -> Path:
        """Make a backup the file while it is closed; return where the old one was moved. Blocks.

        Raises:
            Unavailable: `storage_unavailable`: the backup is damaged itself.
        """
        assert self._writer is None, "restoring needs the memory closed"
        return self._file.put_in_place(backup)

    # Writing.

    async def _write(
        self, apply: Callable[[sqlite3.Connection, Change], T], *, is_alone: bool = False
    ) -> T:
        if self._writer is None:
            raise Unavailable("storage_unavailable", "The memory is closed.")
        return await self._writer.write(apply, is_alone=is_alone)

    async def _write_alone(self, do: Callable[[sqlite3.Connection], T]) -> T:
        return await self._write(lambda connection, _: do(connection), is_alone=True)

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Compare vectors of this model from now on; those of others are made anew."""
        # Alone: it fills the arena, which must not happen twice because a neighbour failed.
        await self._write_alone(
            lambda connection: self._keeper.use_model(connection, identity, dimensions)
        )

    async def remember(
        self, access: Access, scope: Scope, facts: Sequence[NewFact], *, now: int
    ) -> list[Remembered]:
        """Write facts, all or none."""
        access.check_write(scope)
        return await self._write(
            partial(writing.remember, keeper=self._keeper, scope=scope, facts=facts, now=now)
        )

    async def relate(
        self, access: Access, scope: Scope, relations: Sequence[NewRelation], *, now: int
    ) -> list[int]:
        """Write relations, all or none; entities that are missing are made."""
        access.check_write(scope)

        return await self._write(
            partial(writing.relate, keeper=self._keeper, scope=scope, relations=relations, now=now)
        )

    async def close_fact(self, access: Access, observation_id: int, *, now: int) -> None:
        """End the truth of an observation; its history stays."""

        def apply(connection: sqlite3.Connection, change: Change) -> None:
            rows = finding.scope_rows(connection, sorted(access.writes))
            writing.close_fact(
                connection, change, keeper=self._keeper, scopes=list(rows),
                observation_id=observation_id, at=now,
            )  # fmt: skip

        await self._write(apply)

    async def forget(self, access: Access, selection: Selection) -> ForgetProof:
        """Delete for good what is selected in all scopes that may be changed."""

        def apply(connection: sqlite3.Connection, change: Change) -> ForgetProof:
            rows = finding.scope_rows(connection, sorted(access.writes))
            return forgetting.forget(
                connection, change, keeper=self._keeper, scopes=list(rows), selection=selection,
                entity_key=None if selection.entity is None else fold(selection.entity),
            )  # fmt: skip

        proof = await self._write(apply)
        await self._write(forgetting.purge_log, is_alone=True)
        return proof

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]], *, now: int) -> int:
        """Keep vectors of the current model; return for how many observations there are."""
        model = self._keeper.model
        assert model is not None, "use_model comes first"
        return await self._write(
            partial(writing.put_vectors, keeper=self._keeper, model=model, vectors=vectors, now=now)
        )

    async def use(self, ids: Sequence[int], *, now: int) -> None:
        """Note that observations were of use."""
        await self._write(lambda connection, _: writing.touch(connection, ids, now))

    async def mark_consolidated(self, scope: Scope, conversation_id: str, *, up_to: int) -> None:
        """Note how far a conversation is consolidated."""

        def apply(connection: sqlite3.Connection, _: Change) -> None:
            writing.mark_consolidated(
                connection,
                scope=writing.scope_row(connection, scope),
                conversation=conversation_id,
                up_to=up_to,
            )

        await self._write(apply)

    async def expire(self, *, now: int, half_life_ms: float, entity_count_max: int) -> int:
        """Delete what has outlived itself; return how much, 0 when nothing is left to do.

        When nothing is left, what is free of the file is given back to the disk, a part each time.
        """
        count = await self._write(
            partial(
                forgetting.expire, keeper=self._keeper, now=now, half_life_ms=half_life_ms,
                entity_count_max=entity_count_max,
            )
        )  # fmt: skip
        if not count:
            await self._write_alone(give_back)
        return count

    async def check(self) -> list[str]:
        """Compare index, vectors and arena with the rows; mend what can be; return findings."""
        self._is_suspect = False
        return await self._write_alone(lambda connection: check_rows(connection, self._keeper))

    async def back_up(self, target: Path, *, now: int) -> int:
        """Copy everything to a file while work goes on; return its bytes."""
        size_bytes = await self._readers.read(
            lambda connection: self._file.back_up(connection, target)
        )

        def apply(connection: sqlite3.Connection, _: Change) -> None:
            connection.execute(
                "INSERT INTO backups VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET taken_at = excluded.taken_at",
                (str(target), now),
            )

        await self._write(apply)
        return size_bytes

    # Reading.

    async def _read(self, access: Access, do: Callable[[sqlite3.Connection, ScopeRows], T]) -> T:
        scopes = sorted(access.reads)

        def read(connection: sqlite3.Connection) -> T:
            rows = self._rows
            if all(scope in rows for scope in scopes):
                return do(connection, {rows[scope]: scope for scope in scopes})
            found = finding.scope_rows(connection, scopes)
            rows = {} if len(rows) > SCOPES_KEPT_MAX else rows
            self._rows = rows | {scope: row for row, scope in found.items()}
            return do(connection, found)

        try:
            return await self._readers.read(read)
        except Unavailable:
            # It may be the word index alone, which can be built again.
            self._is_suspect = True
            raise

    async def find_words(
        self, access: Access, question: str, filters: Filters, *, limit: int, now: int
    ) -> Words:
        """Return what has words of the question."""
        return await self._read(
            access,
            lambda connection, scopes: finding.by_keywords(
                connection, question, scopes=list(scopes), filters=filters, counts=self._counts,
                limit=limit, now=now,
            ),
        )  # fmt: skip

    async def search(self, access: Access, search: Search, *, now: int) -> list[Hit]:
        """Return what fits best, with scores and reasons."""
        return await self._read(
            access,
            lambda connection, scopes: search_rows(
                connection, search, keeper=self._keeper, counts=self._counts, scopes=scopes,
                now=now,
            ),
        )  # fmt: skip

    async def entity(
        self, access: Access, name: str, filters: Filters, *, now: int
    ) -> list[EntityView]:
        """Return the entities of a name, one a scope at most, with their history."""

        def do(connection: sqlite3.Connection, scopes: ScopeRows) -> list[EntityView]:
            return [
                EntityView(
                    entity=one,
                    observations=tuple(
                        finding.observations(
                            connection, scopes=scopes, filters=filters, now=now,
                            entities=[one.id], limit=ENTITY_OBSERVATIONS_MAX,
                        )
                    ),
                    versions=_versions(connection, one.id),
                )
                for one in graph.entities_named(connection, fold(name), scopes)
            ]  # fmt: skip

        return await self._read(access, do)

    async def entities(
        self, access: Access, *, type_name: str | None, after: int, limit: int
    ) -> list[Entity]:
        """Return a page of entities in the order of their ids."""

        def do(connection: sqlite3.Connection, scopes: ScopeRows) -> list[Entity]:
            rows = connection.execute(
                "SELECT id, scope, name, type, metadata, version, created_at, updated_at "
                "FROM entities WHERE id > ? AND scope IN (SELECT value FROM json_each(?)) "
                "AND (? IS NULL OR type = ?) ORDER BY id LIMIT ?",
                (after, _json(list(scopes)), type_name, type_name, limit),
            )
            return [graph.entity_of(row, scopes) for row in rows]

        return await self._read(access, do)

    async def walk(self, access: Access, name: str, plan: Walk) -> GraphView:
        """Walk the relations from the entities of a name.

        Raises:
            NotFound: `memory_not_found`.
        """
        step = partial(graph.walk_named, graphs=self._keeper.graphs, name=name, plan=plan)
        found = await self._read(access, step)
        if not isinstance(found, GraphView):
            if await self._readers.read(partial(are_small, scopes=list(found))):
                await self._fill_graphs(found)
            else:
                self._wanted.add(found)
            found = await self._read(access, partial(step, has_built=True))
        assert isinstance(found, GraphView), "the rows are walked where no graph could be built"
        return found

    async def _fill_graphs(self, scopes: ScopeRows) -> None:
        await fill_graphs(
            self._keeper.graphs, scopes, read=self._readers.read, write=self._write_alone
        )

    async def read_wanted_graphs(self, *, timeout_s: float) -> int:
        """Read the large graphs that walks have asked for; wait for such, but not for longer.

        Until then they are walked in the database.

        Returns:
            How many there were.
        """
        wanted = await self._wanted.take(timeout_s=timeout_s)
        await self._fill_graphs(wanted)
        return len(wanted)

    async def export(
        self, access: Access, *, after: int, limit: int, has_vectors: bool
    ) -> Exported:
        """Return a page of observations with their entities, history included."""

        def do(connection: sqlite3.Connection, scopes: ScopeRows) -> Exported:
            found = tuple(
                finding.all_observations(connection, scopes=scopes, after=after, limit=limit)
            )
            ids = list(dict.fromkeys(one.entity_id for one in found))
            vectors = connection.execute(
                "SELECT observation, data FROM vectors WHERE model = ? "
                "AND observation IN (SELECT value FROM json_each(?))",
                (self._keeper.model, _json([one.id for one in found] if has_vectors else [])),
            )
            return Exported(
                observations=found,
                entities=tuple(graph.entities_by_id(connection, ids, scopes)),
                vectors=tuple(vectors),
                next_after=found[-1].id if len(found) == limit else None,
            )

        return await self._read(access, do)

    async def export_relations(self, access: Access, *, after: int, limit: int) -> Exported:
        """Return a page of relations."""

        def do(connection: sqlite3.Connection, scopes: ScopeRows) -> Exported:
            rows = connection.execute(
                "SELECT id, scope, source, target, type, strength, confidence, valid_from, "
                "valid_to, agent, conversation, message, model FROM relations "
                "WHERE id > ? AND scope IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
                (after, _json(list(scopes)), limit),
            ).fetchall()
            ids = list({row[place] for row in rows for place in (2, 3)})
            ends = {one.id: one for one in graph.entities_by_id(connection, ids, scopes)}
            return Exported(
                relations=tuple(
                    graph.relation_of(row, ends, scopes)
                    for row in rows
                    if row[2] in ends and row[3] in ends
                ),
                next_after=rows[-1][0] if len(rows) == limit else None,
            )

        return await self._read(access, do)

    async def unembedded(self, *, limit: int) -> list[Unembedded]:
        """Return observations without a vector of the current model, newest first."""
        return await self._readers.read(lambda connection: unembedded_rows(connection, limit))

    async def unconsolidated(self, *, idle_before: int, limit: int) -> list[Unconsolidated]:
        """Return conversations with episodes to draw conclusions from, idle for a while."""
        return await self._readers.read(
            lambda connection: unconsolidated_rows(connection, idle_before, limit)
        )

    async def scopes(self) -> list[Scope]:
        """Return the scopes that hold anything."""

        def do(connection: sqlite3.Connection) -> list[Scope]:
            rows = connection.execute("SELECT kind, workspace, agent FROM scopes ORDER BY id")
            return [Scope(*row) for row in rows]

        return await self._readers.read(do)

    async def stats(self, access: Access | None) -> MemoryStats:
        """Count what there is in the scopes that may be read; None counts all."""
        scopes = None if access is None else sorted(access.reads)
        return await self._readers.read(
            lambda connection: count_rows(connection, self._keeper, self._file.path, scopes)
        )


def _versions(connection: sqlite3.Connection, entity_id: int) -> tuple[dict[str, object], ...]:
    rows = connection.execute(
        "SELECT version, type, metadata, valid_from, valid_to FROM entity_versions "
        "WHERE entity = ? ORDER BY version",
        (entity_id,),
    )
    return tuple(
        {
            "version": version,
            "type": type_name,
            "metadata": msgspec.json.decode(metadata),
            "valid_from": valid_from,
            "valid_to": valid_to,
        }
        for version, type_name, metadata, valid_from, valid_to in rows
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
