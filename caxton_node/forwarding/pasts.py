"""What other nodes have of an agent's past: asked for once a conversation, and kept at hand.

While an agent is here nothing is added to its past elsewhere, so each node is asked once about a
conversation. One that did not answer, or was not there, is asked at the next turn. Replicas take
turns side by side: what they spent today is asked for again after `FRESH_S`.

An agent that never was anywhere else has no past elsewhere, and nobody is asked.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caxton.v1 import peer_pb2
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import decode_message, encode_message
from caxton_node.runtime.past import Ended, Past, merged
from caxton_node.store.protocol import UsageTotal

__all__ = ["AskPast", "PeerPasts", "Stay", "parts_of", "past_of"]

CONVERSATIONS_MAX: Final = 2_000
"""Conversations whose past elsewhere is kept at hand."""

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of messages in them."""

FRESH_S: Final = 2.0
"""How old what replicas spent today may be."""

PART_BYTES: Final = 256 * 1024

AskPast = Callable[[str, str, str, str], Awaitable[Past]]
"""Asks a node (its name) for the past of an agent in a conversation, and on a day."""

_log = logging.getLogger("caxton.pasts")


@dataclass(frozen=True, slots=True)
class Stay:
    """An agent's time on this node, after or beside its time on others."""

    epoch: int
    """Under which it is here: another one is another stay."""
    has_replicas: bool
    """Whether others run it at the same time."""


@dataclass(slots=True)
class _Known:
    """What the others said of one conversation of one agent."""

    parts: dict[str, Past] = field(default_factory=dict)
    """By node."""
    asked_at: float = 0.0
    """By the event loop's clock."""
    size_bytes: int = 0


class PeerPasts:
    """The `Elsewhere` of a node in a ring.

    Args:
        ask: Asks one node. May raise `Unavailable`.
        peers: Returns the names of the other live nodes.
        stay_of: Returns under what stay an agent is here; None of one that was nowhere else.
    """

    def __init__(
        self,
        ask: AskPast,
        *,
        peers: Callable[[], Sequence[str]],
        stay_of: Callable[[str], Stay | None],
    ) -> None:
        self._ask = ask
        self._peers = peers
        self._stay_of = stay_of
        self._loop = asyncio.get_running_loop()
        self._known: OrderedDict[tuple[str, int, str, str], _Known] = OrderedDict()
        self._size_bytes = 0

    async def past(self, agent: str, conversation_id: str, day: str) -> Past:
        """See `caxton_node.runtime.past.Elsewhere`."""
        stay = self._stay_of(agent)
        if stay is None:
            return Past()
        key = (agent, stay.epoch, conversation_id, day)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
        self._known.move_to_end(key)
        is_stale = stay.has_replicas and self._loop.time() - known.asked_at >= FRESH_S
        silent = [node for node in self._peers() if is_stale or node not in known.parts]
        if silent:
            known.asked_at = self._loop.time()
            await asyncio.gather(*(self._ask_one(node, key, known) for node in silent))
            self._forget_oldest()
        return merged(known.parts.values())

    async def _ask_one(self, node: str, key: tuple[str, int, str, str], known: _Known) -> None:
        agent, _, conversation_id, day = key
        try:
            part = await self._ask(node, agent, conversation_id, day)
        except CaxtonError as problem:
            _log.info("a part of the past of %s is missing: %s", agent, problem.detail)
            return
        grown_bytes = _size_bytes(part) - _size_bytes(known.parts.get(node, Past()))
        known.parts[node] = part
        known.size_bytes += grown_bytes
        if self._known.get(key) is known:
            self._size_bytes += grown_bytes

    def _forget_oldest(self) -> None:
        while len(self._known) > CONVERSATIONS_MAX or self._size_bytes > KEPT_BYTES_MAX:
            _, known = self._known.popitem(last=False)
            self._size_bytes -= known.size_bytes


def _size_bytes(part: Past) -> int:
    return sum(len(one.message.content) for one in part.ended)


def parts_of(past: Past, *, bytes_max: int) -> Iterator[Any]:
    """Cut a past into answers of bounded size, with the latest messages that fit `bytes_max`.

    Yields:
        `PeerFetchPastResponse`, one at least.
    """
    part = peer_pb2.PeerFetchPastResponse(
        in_conversation=_spending(past.in_conversation), today=_spending(past.today)
    )
    size_bytes, part_bytes = 0, 0
    for one in sorted(past.ended, key=lambda one: (one.settled_at, one.seq), reverse=True):
        body = encode_message(one.message)
        if size_bytes + len(body) > bytes_max:
            break
        if part_bytes and part_bytes + len(body) > PART_BYTES:
            yield part
            part, part_bytes = peer_pb2.PeerFetchPastResponse(), 0
        size_bytes += len(body)
        part_bytes += len(body)
        part.messages.add(body=body, settled_at_ms=one.settled_at, seq=one.seq)
    yield part


def past_of(part: Any) -> Past:
    """Return what a `PeerFetchPastResponse` says.

    Raises:
        msgspec.DecodeError: A body is no message.
    """
    return Past(
        ended=tuple(
            Ended(decode_message(one.body), one.settled_at_ms, one.seq) for one in part.messages
        ),
        in_conversation=_usage(part.in_conversation),
        today=_usage(part.today),
    )


def _spending(usage: UsageTotal) -> Any:
    return peer_pb2.AgentSpending(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cost_usd=usage.cost
    )


def _usage(spending: Any) -> UsageTotal:
    return UsageTotal(spending.input_tokens, spending.output_tokens, spending.cost_usd)
