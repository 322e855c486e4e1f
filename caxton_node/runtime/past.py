"""What an agent looks back on: how a conversation went, and what it has spent.

Both are in the journal of the node where they happened. An agent that moved has left them behind,
so the other nodes are asked: the one it came from, and those that took in its messages. A node
that is dead cannot tell; it is asked when it is back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from caxton_node.domain.message import Message
from caxton_node.runtime.prompt import HISTORY_MESSAGES_MAX
from caxton_node.store.protocol import Store, UsageTotal

__all__ = ["Elsewhere", "Ended", "Past", "Pasts", "in_order", "merged"]

SEARCHED_MAX: Final = 100
"""Latest messages of a conversation among which those that ended are looked for."""


NOTHING_SPENT: Final = UsageTotal()


@dataclass(frozen=True, slots=True)
class Ended:
    """A message that came to its end on some node."""

    message: Message
    settled_at: int
    """Milliseconds since 1970, UTC, by that node's clock."""
    seq: int
    """Its number in that node's journal."""


@dataclass(frozen=True, slots=True)
class Past:
    """What there is to look back on before a turn."""

    ended: tuple[Ended, ...] = ()
    """Of the conversation, in no order, at most `HISTORY_MESSAGES_MAX` of each node."""
    in_conversation: UsageTotal = NOTHING_SPENT
    """What the agent spent in it."""
    today: UsageTotal = NOTHING_SPENT
    """What the agent spent on the day that was asked for."""


class Elsewhere(Protocol):
    """The other nodes, as far as they have a part of an agent's past."""

    async def past(self, agent: str, conversation_id: str, day: str) -> Past:
        """Return what live nodes other than this one have. Never fails: who is silent is left out.

        Args:
            agent: Its name.
            conversation_id: Which conversation.
            day: For which day, such as `2026-01-31`, UTC.
        """
        ...


class _Nowhere:
    """The `Elsewhere` of a node in no ring."""

    async def past(self, *_: str) -> Past:
        return Past()


class Pasts:
    """Reads the pasts of a node's agents.

    Args:
        store: This node's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.elsewhere: Elsewhere = _Nowhere()

    async def of(self, agent: str, conversation_id: str, day: str) -> Past:
        """Return what an agent looks back on, wherever it happened; see `Elsewhere.past`.

        Raises:
            Unavailable: The disk refuses.
        """
        here = await self.here(agent, conversation_id, day)
        there = await self.elsewhere.past(agent, conversation_id, day)
        return merged((here, there))

    async def here(self, agent: str, conversation_id: str, day: str) -> Past:
        """Return what happened on this node; see `of`."""
        # The answer of the turn before may still be on its way to the disk.
        await self._store.flush()
        recent = await self._store.recent_messages(conversation_id, limit=SEARCHED_MAX)
        ended = [
            Ended(one.message, one.settled_at, one.seq)
            for one in recent
            if one.settled_at is not None
        ]
        ended.sort(key=lambda one: (one.settled_at, one.seq))
        return Past(
            ended=tuple(ended[-HISTORY_MESSAGES_MAX:]),
            in_conversation=await self._store.usage(agent=agent, conversation_id=conversation_id),
            today=await self._store.usage(agent=agent, day=day),
        )


def merged(parts: Iterable[Past]) -> Past:
    """Return several nodes' parts as one. What more than one node journaled is there once."""
    parts = tuple(parts)
    by_id: dict[str, Ended] = {}
    for part in parts:
        for one in part.ended:
            known = by_id.setdefault(one.message.id, one)
            if one.settled_at < known.settled_at:
                by_id[one.message.id] = one
    return Past(
        ended=tuple(by_id.values()),
        in_conversation=sum((part.in_conversation for part in parts), NOTHING_SPENT),
        today=sum((part.today for part in parts), NOTHING_SPENT),
    )


def in_order(ended: Sequence[Ended]) -> list[Message]:
    """Return messages exchange by exchange, a question before its answers.

    Exchanges come in the order in which they ended, not in which they were accepted: of two
    questions that came at once, the second was answered knowing the first one's answer. A node
    that took a question in for another journals the answer before it hears that the question is
    over, so an exchange counts from its first end.
    """
    questions = {one.message.answers_go_under: one.message.id for one in ended}

    def exchange_of(one: Ended) -> str:
        return questions.get(one.message.in_reply_to or "", one.message.id)

    began: dict[str, tuple[int, int]] = {}
    for one in ended:
        exchange, instant = exchange_of(one), (one.settled_at, one.seq)
        began[exchange] = min(instant, began.get(exchange, instant))

    def place(one: Ended) -> tuple[tuple[int, int], str, bool, int, int]:
        exchange = exchange_of(one)
        is_answer = exchange != one.message.id
        return (began[exchange], exchange, is_answer, one.settled_at, one.seq)

    return [one.message for one in sorted(ended, key=place)]
