"""The store on disk: one SQLite file, one writer with group commit, a few readers.

What it promises: when a callback is called without an error, or a coroutine returns, the entry
survives a crash of the process, and with `is_synced` also one of the machine. Reads see what is
committed. A file has one owner; a second process is refused.

Rules that callers rely on:

- A message whose id is stored already is ignored by `append`, and so is a settlement under its
  number. Who must know (to answer with the first one's outcome) asks before.
- The first settlement of a message holds; later ones are ignored.
- An `append` without a callback is kept and tried again when its batch fails.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from caxton_node.domain.conversation import Conversation
from caxton_node.domain.delivery import DeadReason, DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.store import rows
from caxton_node.store.batch import RowKind, RowsWrite, SingleWrite
from caxton_node.store.committer import Committer
from caxton_node.store.history import History
from caxton_node.store.paging import clamp_limit
from caxton_node.store.protocol import (
    AgentRecord,
    AgentVersion,
    Committed,
    Definition,
    LogLine,
    Mark,
    Page,
    Settlement,
    Step,
    StoredMessage,
    UsageTotal,
)
from caxton_node.store.queries import load_queries
from caxton_node.store.readers import Readers
from caxton_node.store.rows import Undecodable
from caxton_node.store.storable_text import storable_text
from caxton_node.store.writer import Writer
from caxton_node.store.writes import (
    LOG_LINES_MAX,
    delete_agent,
    delete_definitions,
    delete_node_number,
    drop_message,
    prune_messages,
    put_agent,
    put_definition,
    put_node_number,
    revive_message,
)

__all__ = ["SqliteStore"]

_LOG: Final = logging.getLogger(__name__)

_AGENTS_MAX = 100_000
_VERSIONS_MAX = 10_000
_STEPS_MAX = 10_000
_NUMBERS_MAX = 100_000


class SqliteStore:
    """A `Store` in a SQLite file.

    Args:
        path: The database file; its directory is made when missing.
        is_synced: Wait for the disk at every commit. Without, a crash of the machine (not of
            the process) may lose the last commits, never the file.
        reader_count: Connections, and threads, that read.
    """

    def __init__(self, path: Path, *, is_synced: bool = True, reader_count: int = 2) -> None:
        self._queries = load_queries()
        self._writer = Writer(Committer(path, is_synced=is_synced, queries=self._queries))
        self._readers = Readers(path, count=reader_count, queries=self._queries)
        self._history = History(self._readers)

    async def open(self) -> None:
        """Open or create, migrate, and make ready.

        Raises:
            Conflict: `state_conflict`: another process has the file open.
            Rejected: `invalid_settings`: the file was written by a newer version.
            Unavailable: `storage_unavailable`: it cannot be opened.
        """
        await self._writer.open()
        try:
            await self._readers.open()
        except BaseException:
            await self._writer.close()
            raise

    async def close(self) -> None:
        """Write what is waiting, then release everything."""
        await self._readers.close()
        await self._writer.close()

    @property
    def last_seq(self) -> int:
        """The highest sequence number ever accepted; 0 in a new store."""
        return self._writer.last_seq

    @property
    def backlog(self) -> int:
        """Entries that are not committed yet."""
        return self._writer.backlog

    @property
    def trouble(self) -> str | None:
        """Why the last batch could not be written; None when it was."""
        return self._writer.trouble

    def append(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Committed | None = None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),
    ) -> None:
        """Journal new messages and ends of old ones, all or nothing, in one transaction."""
        self._writer.append(accepted, settled, committed, marks, packed)

    async def flush(self) -> None:
        """Return once everything appended so far is on disk, where reads find it.

        Raises:
            Unavailable: `storage_unavailable`: it cannot be written, or not within 30 s.
        """
        await self._writer.flush()

    async def unsettled(self, *, after_seq: int, limit: int) -> Sequence[StoredMessage]:
        """Return accepted messages without an end, in order of acceptance.

        Fewer than `limit` may come back while messages are being settled; the end is an empty
        answer. What can no longer be decoded is left out and settled as dead.
        """
        while True:
            page = await self._history.unsettled(after_seq=after_seq, limit=limit)
            self._give_up(page.undecodable)
            if page.messages or page.last_seq is None:
                return page.messages
            # None of them is of use, but that is not the end.
            after_seq = page.last_seq

    def _give_up(self, undecodable: Sequence[Undecodable]) -> None:
        now_ms = time.time_ns() // 1_000_000
        for one in undecodable:
            _LOG.error("message %s cannot be decoded and is dead: %s", one.id, one.problem)
        if undecodable:
            self._writer.append(
                (),
                [
                    Settlement(
                        one.seq,
                        DeliveryStatus.DEAD,
                        now_ms,
                        reason=f"{DeadReason.UNDECODABLE}: {one.problem}",
                    )
                    for one in undecodable
                ],
                None,
            )

    async def message(self, message_id: str) -> StoredMessage | None:
        """Return one message, or None."""
        return await self._history.message(message_id)

    async def messages(
        self,
        *,
        conversation_id: str | None = None,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[StoredMessage]:
        """Return messages: of one conversation in order, otherwise newest first.

        A page may be short, or empty, before the last one.

        Raises:
            Rejected: `invalid_request`: the cursor is malformed.
        """
        return await self._history.messages(
            conversation_id=conversation_id, status=status, cursor=cursor, limit=limit
        )

    async def recent_messages(self, conversation_id: str, *, limit: int) -> Sequence[StoredMessage]:
        """See `Store.recent_messages`."""
        return await self._history.recent_messages(conversation_id, limit=limit)

    async def subconversations(self, conversation_id: str, *, limit: int = 100) -> Sequence[str]:
        """See `Store.subconversations`."""
        return await self._history.subconversations(conversation_id, limit=limit)

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """Return one conversation, or None."""
        return await self._history.conversation(conversation_id)

    async def conversations(
        self, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """Return conversations, the most recently active first.

        A page may be short, or empty, before the last one.

        Raises:
            Rejected: `invalid_request`: the cursor is malformed.
        """
        return await self._history.conversations(cursor=cursor, limit=limit)

    async def status_counts(self) -> dict[DeliveryStatus, int]:
        """Return how many messages are in each state. A state without any is absent."""
        return await self._history.status_counts()

    async def revive(self, message_id: str, *, seq: int) -> StoredMessage | None:
        """Make a dead message accepted again under a new number; None if it is not dead."""
        self._writer.raise_last_seq(seq)
        if await self._history.message(message_id) is None:
            return None  # also one that cannot be decoded: it would only die again
        is_revived = await self._writer.write(
            SingleWrite(
                partial(revive_message, queries=self._queries, message_id=message_id, seq=seq)
            )
        )
        return await self._history.message(message_id) if is_revived else None

    async def drop(self, message_id: str) -> bool:
        """Delete a dead message; False if it is not dead."""
        is_dropped: bool = await self._writer.write(
            SingleWrite(partial(drop_message, queries=self._queries, message_id=message_id))
        )
        return is_dropped

    async def prune(self, *, before: int, limit: int) -> int:
        """Delete at most `limit` (and 1,000) messages settled before an instant.

        The oldest go first. Steps of theirs go with them, and steps as old of messages that
        were never journaled.
        """
        seqs = await self._history.prunable(before=before, limit=clamp_limit(limit))
        deleted: int = await self._writer.write(
            SingleWrite(partial(prune_messages, queries=self._queries, seqs=seqs, before=before))
        )
        return deleted

    async def put_agent(self, record: AgentRecord, version: AgentVersion | None = None) -> None:
        """Write an agent's state and, with it, a new version.

        Raises:
            Conflict: `already_exists`: there is a version of that number; nothing was written.
        """
        assert version is None or version.agent == record.name, "the version is this agent's"
        await self._writer.write(
            SingleWrite(partial(put_agent, queries=self._queries, record=record, version=version))
        )

    async def agents(self) -> Sequence[AgentRecord]:
        """Return all agents by name."""
        (found,) = await self._readers.row("agents", {"limit": _AGENTS_MAX})
        return rows.agent_records(found)

    async def agent_versions(self, agent: str) -> Sequence[AgentVersion]:
        """Return an agent's versions, oldest first."""
        (found,) = await self._readers.row(
            "agent_versions", {"agent": agent, "limit": _VERSIONS_MAX}
        )
        return rows.agent_versions(agent, found)

    async def delete_agent(self, agent: str) -> bool:
        """Delete an agent, its versions, usage and log; False if there was none."""
        is_deleted: bool = await self._writer.write(
            SingleWrite(partial(delete_agent, queries=self._queries, agent=agent))
        )
        return is_deleted

    async def put_definition(self, definition: Definition) -> None:
        """Keep a definition of another node's agent. One that is there already stays."""
        await self._writer.write(
            SingleWrite(partial(put_definition, queries=self._queries, definition=definition))
        )

    async def definition(self, digest: str) -> Definition | None:
        """Return a definition: of another node's agent, or any version of an agent of our own."""
        (found,) = await self._readers.row("definition", {"digest": digest})
        return rows.definition(digest, found)

    async def definition_digests(self) -> Sequence[str]:
        """Return the digests of the definitions put, sorted; those of our own agents are not."""
        (found,) = await self._readers.row("definition_digests", {"limit": _AGENTS_MAX})
        return rows.words(found)

    async def delete_definitions(self, digests: Sequence[str]) -> int:
        """Forget definitions that were put; return how many there were."""
        count: int = await self._writer.write(
            SingleWrite(partial(delete_definitions, queries=self._queries, digests=digests))
        )
        return count

    async def node_number(self, name: str) -> int | None:
        """Return a number that the node keeps of itself, or None before it was put."""
        (found,) = await self._readers.row("node_number", {"name": name})
        number: int | None = found
        return number

    async def node_numbers(self, prefix: str) -> Mapping[str, int]:
        """Return the numbers whose names begin with `prefix`, by name, in its order."""
        assert prefix, "all numbers are asked for by no one"
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        (rows,) = await self._readers.row(
            "node_numbers", {"prefix": prefix, "end": end, "limit": _NUMBERS_MAX}
        )
        return dict(orjson.loads(rows))

    async def delete_node_number(self, name: str) -> None:
        """Keep a number no longer. Unknown names are fine."""
        await self._writer.write(
            SingleWrite(partial(delete_node_number, queries=self._queries, name=name))
        )

    async def put_node_number(self, name: str, value: int) -> None:
        """Keep a number of the node's own, in place of what it was."""
        await self._writer.write(
            SingleWrite(partial(put_node_number, queries=self._queries, name=name, value=value))
        )

    async def put_step(self, step: Step) -> None:
        """Write a step, or finish one that was started."""
        row = (
            step.message_id,
            step.number,
            step.kind,
            step.name,
            step.state.value,
            step.started_at,
            step.finished_at,
        )
        await self._writer.write(RowsWrite(RowKind.STEP, [row], step.data))

    async def steps(self, message_id: str) -> Sequence[Step]:
        """Return the steps of a message's turn, in order."""
        found, data = await self._readers.row(
            "steps", {"message_id": message_id, "limit": _STEPS_MAX}
        )
        return rows.steps(message_id, found, data)

    async def add_usage(
        self, *, agent: str, conversation_id: str, day: str, usage: UsageTotal
    ) -> None:
        """Add to what an agent spent in a conversation, on a day (`2026-01-31`, UTC)."""
        row = (
            agent,
            conversation_id,
            day,
            usage.input_tokens,
            usage.output_tokens,
            float(usage.cost),
        )
        await self._writer.write(RowsWrite(RowKind.USAGE, [row]))

    async def usage(
        self, *, agent: str, conversation_id: str | None = None, day: str | None = None
    ) -> UsageTotal:
        """Return what an agent spent: in a conversation, on a day, or ever."""
        if conversation_id is None:
            found = await self._readers.row("usage_by_day", {"agent": agent, "day": day})
        else:
            found = await self._readers.row(
                "usage_by_conversation",
                {"agent": agent, "conversation_id": conversation_id, "day": day},
            )
        return UsageTotal(*found)

    async def put_log(self, agent: str, lines: Sequence[LogLine]) -> None:
        """Add to an agent's log, which keeps the last 1,000 lines."""
        if not lines:
            return
        added = [
            (agent, line.at, line.level, storable_text(line.text), line.conversation_id)
            for line in lines[-LOG_LINES_MAX:]
        ]
        await self._writer.write(RowsWrite(RowKind.LOG, added))

    async def log(self, agent: str, *, tail: int = 100) -> Sequence[LogLine]:
        """Return the last lines of an agent's log, oldest first."""
        (found,) = await self._readers.row("log", {"agent": agent, "tail": clamp_limit(tail)})
        return rows.log_lines(found)
