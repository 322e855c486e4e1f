"""Reading messages and conversations back from the database, page by page.

A page is read in two steps: first the numbers and sizes of its messages, then the messages
themselves, in portions of bounded size. A message that is pruned or changes between the two
steps is left out: a list is no snapshot. One whose bytes this version cannot decode (a damaged
row, or one that a newer version wrote) is left out too, and the log says so.

Where no index leads (what was delivered, which conversation was last active), one page looks at
a bounded window of numbers. Such a page may hold fewer items than asked, even none, and still
name a next one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from caxton_node.domain.conversation import Conversation
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.store.paging import (
    PARTICIPANT_SCAN_MAX,
    PARTICIPANTS_MAX,
    clamp_limit,
    parse_cursor,
)
from caxton_node.store.protocol import Page, StoredMessage
from caxton_node.store.readers import Readers
from caxton_node.store.rows import Undecodable, conversations, stored_messages

__all__ = ["PAGE_BYTES_MAX", "SCAN_WINDOW", "History", "Unsettled"]

PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Packed messages on one page, and in one portion. The first message always fits."""

SCAN_WINDOW: Final = 20_000
"""Numbers that one page looks at where no index leads."""

_BEYOND_ALL: Final = 2**62

_NO_ROWS: Final = "[]"

Key = tuple[int, int]
"""A message's number and its packed size in bytes."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Some of the messages without an end."""

    messages: Sequence[StoredMessage]
    undecodable: Sequence[Undecodable]
    last_seq: int | None
    """Of all that was looked at; None at the end."""


class History:
    """Messages and conversations, as committed."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def unsettled(self, *, after_seq: int, limit: int) -> Unsettled:
        """Return messages that wait for an end, and what waits but cannot be decoded."""
        (rows,) = await self._readers.row(
            "unsettled_keys", {"after": after_seq, "limit": max(1, limit)}
        )
        keys: list[Key] = orjson.loads(rows)
        found: list[StoredMessage] = []
        undecodable: list[Undecodable] = []
        for portion in _portions(keys):
            readable, unreadable = await self._read(portion)
            found += readable
            undecodable += unreadable
        waiting = [stored for stored in found if stored.status is DeliveryStatus.ACCEPTED]
        return Unsettled(waiting, undecodable, keys[-1][0] if keys else None)

    async def message(self, message_id: str) -> StoredMessage | None:
        """See `Store.message`."""
        (seq,) = await self._readers.row("message_key", {"id": message_id})
        if seq is None:
            return None
        found = await self._by_seq([seq])
        return found[0] if found else None

    async def messages(
        self,
        *,
        conversation_id: str | None,
        status: DeliveryStatus | None,
        cursor: str | None,
        limit: int,
    ) -> Page[StoredMessage]:
        """See `Store.messages`."""
        position = parse_cursor(cursor)
        limit = clamp_limit(limit)
        parameters: dict[str, Any] = {
            "cursor": _BEYOND_ALL if position is None else position,
            "limit": limit + 1,
        }
        scanned_to: int | None = None
        if conversation_id is not None:
            query = "conversation_keys"
            parameters |= {
                "cursor": position or 0,
                "conversation_id": conversation_id,
                "status": status,
            }
        else:
            match status:
                case None:
                    query = "newest_keys"
                case DeliveryStatus.ACCEPTED:
                    query = "accepted_keys"
                case DeliveryStatus.DELIVERED:
                    query = "delivered_keys"
                case DeliveryStatus.DEAD | DeliveryStatus.EXPIRED | DeliveryStatus.CANCELLED:
                    query = "gone_wrong_keys"
                    parameters["status"] = status
        if query == "delivered_keys":
            rows, scanned_to = await self._window(query, parameters)
        else:
            (rows,) = await self._readers.row(query, parameters)
        keys: list[Key] = orjson.loads(rows)
        shown = next(_portions(keys[:limit]), [])
        items = [
            stored
            for stored in await self._by_seq(shown)
            if status is None or stored.status is status
        ]
        if len(shown) < len(keys):
            next_cursor: str | None = str(shown[-1])
        else:
            next_cursor = None if scanned_to is None else str(scanned_to)
        return Page(tuple(items), next_cursor)

    async def recent_messages(self, conversation_id: str, *, limit: int) -> Sequence[StoredMessage]:
        """See `Store.recent_messages`."""
        (rows,) = await self._readers.row(
            "recent_keys", {"conversation_id": conversation_id, "limit": clamp_limit(limit)}
        )
        newest_first = next(_portions(orjson.loads(rows)), [])
        return await self._by_seq(newest_first[::-1])

    async def subconversations(self, conversation_id: str, *, limit: int) -> Sequence[str]:
        """See `Store.subconversations`."""
        (rows,) = await self._readers.row(
            "subconversation_ids",
            {"conversation_id": conversation_id, "limit": clamp_limit(limit)},
        )
        return tuple(orjson.loads(rows))

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """See `Store.conversation`."""
        found = await self._summaries([conversation_id])
        return found[0] if found else None

    async def conversations(self, *, cursor: str | None, limit: int) -> Page[Conversation]:
        """See `Store.conversations`.

        Walks back over all messages and takes each conversation where its newest message is: a
        table of conversations would cost every message a write.
        """
        position = parse_cursor(cursor)
        limit = clamp_limit(limit)
        rows, scanned_to = await self._window(
            "recent_conversations",
            {"cursor": _BEYOND_ALL if position is None else position, "limit": limit + 1},
        )
        keys: list[tuple[str, int]] = orjson.loads(rows)
        shown = keys[:limit]
        items = await self._summaries([conversation_id for conversation_id, _ in shown])
        if len(keys) > limit:
            next_cursor: str | None = str(shown[-1][1])
        else:
            next_cursor = None if scanned_to is None else str(scanned_to)
        return Page(tuple(items), next_cursor)

    async def status_counts(self) -> dict[DeliveryStatus, int]:
        """See `Store.status_counts`."""
        (rows,) = await self._readers.row("status_counts", {})
        return {DeliveryStatus(status): number for status, number in orjson.loads(rows)}

    async def prunable(self, *, before: int, limit: int) -> list[int]:
        """Return the numbers of the oldest messages that were settled before an instant.

        Looks window by window from the oldest message on, and no further than the first window
        in which everything was accepted later than that.
        """
        found: list[int] = []
        after = 0
        while len(found) < limit:
            seqs, oldest_at, last_seq, count = await self._readers.row(
                "prunable", {"before": before, "after": after, "window": SCAN_WINDOW}
            )
            found += orjson.loads(seqs or _NO_ROWS)
            if count < SCAN_WINDOW or oldest_at >= before:
                break
            after = last_seq
        return found[:limit]

    async def _window(self, query: str, parameters: dict[str, Any]) -> tuple[str, int | None]:
        """Run a windowed query; return its rows and where to go on, None at the end."""
        if parameters["cursor"] == _BEYOND_ALL:
            (_, last_seq) = await self._readers.row("positions", {})
            parameters["cursor"] = last_seq + 1
        floor = parameters["cursor"] - SCAN_WINDOW
        rows, oldest_seq = await self._readers.row(query, parameters | {"floor": floor})
        return rows, floor if oldest_seq and oldest_seq < floor else None

    async def _by_seq(self, seqs: Sequence[int]) -> list[StoredMessage]:
        found, undecodable = await self._read(seqs)
        if undecodable:
            first = undecodable[0]
            _LOG.warning(
                "%d messages that cannot be decoded are left out, first %s: %s",
                len(undecodable),
                first.id,
                first.problem,
            )
        return found

    async def _read(self, seqs: Sequence[int]) -> tuple[list[StoredMessage], list[Undecodable]]:
        if not seqs:
            return [], []
        rows, bodies = await self._readers.row(
            "messages_by_seq", {"seqs": orjson.dumps(seqs).decode()}
        )
        readable, undecodable = stored_messages(rows, bodies)
        found = {stored.seq: stored for stored in readable}
        return [found[seq] for seq in seqs if seq in found], undecodable

    async def _summaries(self, conversation_ids: Sequence[str]) -> list[Conversation]:
        if not conversation_ids:
            return []
        (rows,) = await self._readers.row(
            "conversation_summaries",
            {
                "conversation_ids": orjson.dumps(conversation_ids).decode(),
                "scanned": PARTICIPANT_SCAN_MAX,
                "participants": PARTICIPANTS_MAX,
            },
        )
        return conversations(rows)


def _portions(keys: Sequence[Key]) -> Iterator[list[int]]:
    """Cut a list of messages into runs of at most `PAGE_BYTES_MAX` each, never empty."""
    portion: list[int] = []
    size_bytes = 0
    for seq, size in keys:
        if portion and size_bytes + size > PAGE_BYTES_MAX:
            yield portion
            portion, size_bytes = [], 0
        portion.append(seq)
        size_bytes += size
    if portion:
        yield portion
