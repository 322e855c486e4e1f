"""The promise: nothing is accepted before it is on disk, and everything accepted has an end.

This is the pipeline's view of the store: it numbers the messages, remembers in order who is to
be told of the commit, and refuses more than the writer can carry.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message
from caxton_node.store.protocol import Mark, Settlement, Store, StoredMessage

__all__ = ["BACKLOG_MAX", "Journal", "OnCommit"]

BACKLOG_MAX = 50_000
"""Entries that may wait for the writer: about a second of work. One more is refused."""

MARK_TIMEOUT_S: Final = 10.0
"""How long a turn that must happen once waits until that it begins is on disk."""

ANSWERS_SEARCHED_MAX = 1_000
"""Messages of a conversation in which the answer to a question asked again is looked for."""

OnCommit = Callable[[Unavailable | None], None]


class Journal:
    """Numbers, writes and settles messages."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seq = store.last_seq

    def next_seq(self) -> int:
        """Return a fresh number for a message."""
        self._seq += 1
        return self._seq

    def check_room(self) -> None:
        """Refuse what the writer cannot carry.

        Raises:
            Unavailable: `node_busy`.
        """
        if self._store.backlog >= BACKLOG_MAX:
            raise Unavailable(
                "node_busy",
                "the journal is behind",
                hint="Try again a little later.",
                facts={"retry_after_s": 1},
            )

    def write(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        on_commit: OnCommit | None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),
    ) -> None:
        """Write new messages and ends of old ones, all or nothing, and how far others came.

        Arguments as `Store.append`.
        """
        self._store.append(accepted, settled, on_commit, marks, packed)

    def mark(self, mark: Mark, on_commit: OnCommit) -> None:
        """Write how far a message came, before it goes further."""
        self._store.append((), (), on_commit, (mark,))

    async def marked(self, mark: Mark) -> None:
        """Write how far a message came; return once it is on disk.

        Raises:
            Unavailable: `storage_unavailable`.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_commit(error: Unavailable | None) -> None:
            if written.done():
                return
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

        self.mark(mark, on_commit)
        try:
            async with asyncio.timeout(MARK_TIMEOUT_S):
                await written
        except TimeoutError:
            raise Unavailable(
                "storage_unavailable", f"the journal did not confirm within {MARK_TIMEOUT_S:g} s"
            ) from None

    def settle(self, settlement: Settlement) -> None:
        """Write the end of a message. The store keeps trying while the process lives."""
        self._store.append((), (settlement,), None)

    async def find(self, message_id: str) -> StoredMessage | None:
        """Return a message that was accepted here, or None."""
        return await self._store.message(message_id)

    async def answer_to(self, question: Message) -> Message | None:
        """Return the answer that was given here to a question, or None."""
        page = await self._store.messages(
            conversation_id=question.conversation_id, limit=ANSWERS_SEARCHED_MAX
        )
        asker = question.reply_to or question.sender
        for stored in page.items:
            answer = stored.message
            if answer.in_reply_to == question.answers_go_under and answer.receiver == asker:
                return answer
        return None

    async def dead_letter(self, message_id: str) -> StoredMessage | None:
        """Return a dead letter, or None when the message is not dead."""
        stored = await self._store.message(message_id)
        return stored if stored is not None and stored.status is DeliveryStatus.DEAD else None

    async def revive(self, message_id: str) -> StoredMessage | None:
        """Write that a dead message is accepted again; None when it is not dead."""
        return await self._store.revive(message_id, seq=self.next_seq())
