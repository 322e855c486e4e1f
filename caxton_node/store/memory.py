"""The store of a node that need not remember: the same behaviour, in dictionaries.

For tests and for trying things out. There is no thread and no file; callbacks still run in a
later iteration of the loop, so that nobody comes to rely on less. Its history is bounded:
beyond `settled_max` the oldest settled messages are forgotten.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from caxton_node.domain.conversation import Conversation, ConversationStatus
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Conflict
from caxton_node.domain.message import Message
from caxton_node.store.paging import (
    PARTICIPANT_SCAN_MAX,
    PARTICIPANTS_MAX,
    clamp_limit,
    parse_cursor,
)
from caxton_node.store.protocol import (
    RECEIVER,
    AgentRecord,
    AgentVersion,
    Committed,
    Definition,
    LogLine,
    Mark,
    Page,
    Settlement,
    Step,
    StepState,
    StoredMessage,
    UsageTotal,
)
from caxton_node.store.storable_text import storable_text
from caxton_node.store.writes import LOG_LINES_MAX

__all__ = ["SETTLED_MAX", "MemoryStore"]

SETTLED_MAX: Final = 100_000
"""Settled messages that are remembered unless the constructor is told otherwise."""

Item = TypeVar("Item")

_LOG: Final = logging.getLogger(__name__)


class MemoryStore:
    """A `Store` that forgets when the process ends.

    Args:
        settled_max: Settled messages to remember; the oldest are forgotten beyond it. Messages
            that wait are never forgotten: the pipeline bounds them.
    """

    def __init__(self, *, settled_max: int = SETTLED_MAX) -> None:
        assert settled_max >= 1, "a history holds something"
        self._settled_max = settled_max
        self._by_seq: dict[int, StoredMessage] = {}
        """In order of acceptance."""
        self._seq_of_id: dict[str, int] = {}
        self._in_conversation: dict[str, dict[int, None]] = {}
        self._open: dict[int, None] = {}
        self._settled_order: deque[int] = deque()
        self._settled_count = 0
        self._agents: dict[str, AgentRecord] = {}
        self._definitions: dict[str, Definition] = {}
        self._numbers: dict[str, int] = {}
        self._versions: dict[str, list[AgentVersion]] = {}
        self._steps: dict[str, dict[int, Step]] = {}
        self._usage: dict[tuple[str, str, str], UsageTotal] = {}
        self._logs: dict[str, deque[LogLine]] = {}
        self.last_seq = 0
        self.backlog = 0

    async def open(self) -> None:
        """Do nothing: it is ready."""

    async def close(self) -> None:
        """Let the callbacks under way run. What was kept stays until the object goes."""
        await asyncio.sleep(0)

    @property
    def trouble(self) -> str | None:
        """Nothing can go wrong here."""
        return None

    def append(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Committed | None = None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),  # noqa: ARG002 - the Protocol's
    ) -> None:
        """Journal new messages and ends of old ones, all or nothing."""
        for seq, message in accepted:
            self.last_seq = max(self.last_seq, seq)
            if message.id not in self._seq_of_id:
                self._insert(
                    StoredMessage(seq, message, DeliveryStatus.ACCEPTED, message.created_at)
                )
        for end in settled:
            if end.seq in self._open:
                self._settle(end)
        for mark in marks:
            if mark.seq in self._open:
                self._by_seq[mark.seq] = replace(
                    self._by_seq[mark.seq],
                    started_at=mark.at,
                    agent=mark.agent,
                    attempts=mark.attempts,
                    node=mark.node,
                )
        self._forget_oldest()
        entry_count = len(accepted) + len(settled) + len(marks)
        self.backlog += entry_count
        asyncio.get_running_loop().call_soon(self._report, entry_count, committed)

    async def flush(self) -> None:
        """Do nothing: what was appended is where reads find it."""

    async def unsettled(self, *, after_seq: int, limit: int) -> Sequence[StoredMessage]:
        """Return accepted messages without an end, in order of acceptance."""
        seqs = sorted(seq for seq in self._open if seq > after_seq)
        return [self._by_seq[seq] for seq in seqs[: max(1, limit)]]

    async def message(self, message_id: str) -> StoredMessage | None:
        """Return one message, or None."""
        seq = self._seq_of_id.get(message_id)
        return None if seq is None else self._by_seq[seq]

    async def messages(
        self,
        *,
        conversation_id: str | None = None,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[StoredMessage]:
        """Return messages: of one conversation in order, otherwise newest first."""
        position = parse_cursor(cursor)
        seqs: Iterable[int]
        if conversation_id is not None:
            in_order = sorted(self._in_conversation.get(conversation_id, ()))
            seqs = (seq for seq in in_order if position is None or seq > position)
        else:
            newest_first = sorted(self._by_seq, reverse=True)
            seqs = (seq for seq in newest_first if position is None or seq < position)
        hits = [
            self._by_seq[seq]
            for seq in seqs
            if status is None or self._by_seq[seq].status is status
        ]
        return _page(hits, clamp_limit(limit), lambda stored: stored.seq)

    async def recent_messages(self, conversation_id: str, *, limit: int) -> Sequence[StoredMessage]:
        """Return the last messages of a conversation, oldest first."""
        in_order = sorted(self._in_conversation.get(conversation_id, ()))
        return [self._by_seq[seq] for seq in in_order[-clamp_limit(limit) :]]

    async def subconversations(self, conversation_id: str, *, limit: int = 100) -> Sequence[str]:
        """Return the ids of conversations that agents began within this one: `<id>.…`."""
        prefix = f"{conversation_id}."
        found = sorted(
            name for name in self._in_conversation if name.startswith(prefix) and name != prefix
        )
        return tuple(found[: clamp_limit(limit)])

    async def conversation(self, conversation_id: str) -> Conversation | None:
        """Return one conversation, or None."""
        seqs = self._in_conversation.get(conversation_id)
        if not seqs:
            return None
        return _conversation(conversation_id, [self._by_seq[seq] for seq in sorted(seqs)])

    async def conversations(
        self, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """Return conversations, the most recently active first."""
        position = parse_cursor(cursor)
        newest = sorted(
            (
                (max(seqs), conversation_id)
                for conversation_id, seqs in self._in_conversation.items()
                if conversation_id and (position is None or max(seqs) < position)
            ),
            reverse=True,
        )
        page = _page(newest, clamp_limit(limit), lambda item: item[0])
        items = [
            _conversation(name, [self._by_seq[seq] for seq in sorted(self._in_conversation[name])])
            for _, name in page.items
        ]
        return Page(tuple(items), page.next_cursor)

    async def status_counts(self) -> dict[DeliveryStatus, int]:
        """Return how many messages are in each state. A state without any is absent."""
        return dict(Counter(stored.status for stored in self._by_seq.values()))

    async def revive(self, message_id: str, *, seq: int) -> StoredMessage | None:
        """Make a dead message accepted again under a new number; None if it is not dead."""
        self.last_seq = max(self.last_seq, seq)
        dead = await self.message(message_id)
        if dead is None or dead.status is not DeliveryStatus.DEAD:
            return None
        self._delete(dead.seq, with_steps=False)
        steps = self._steps.get(message_id, {})
        self._steps[message_id] = {
            number: step for number, step in steps.items() if step.state is not StepState.STARTED
        }
        revived = StoredMessage(seq, dead.message, DeliveryStatus.ACCEPTED, dead.accepted_at)
        self._insert(revived)
        return revived

    async def drop(self, message_id: str) -> bool:
        """Delete a dead message; False if it is not dead."""
        dead = await self.message(message_id)
        if dead is None or dead.status is not DeliveryStatus.DEAD:
            return False
        self._delete(dead.seq)
        return True

    async def prune(self, *, before: int, limit: int) -> int:
        """Delete at most `limit` (and 1,000) messages settled before an instant."""
        old = sorted(
            stored.seq
            for stored in self._by_seq.values()
            if stored.settled_at is not None and stored.settled_at < before
        )[: clamp_limit(limit)]
        for seq in old:
            self._delete(seq)
        for message_id in [name for name in self._steps if name not in self._seq_of_id]:
            kept = {n: s for n, s in self._steps[message_id].items() if s.started_at >= before}
            if kept:
                self._steps[message_id] = kept
            else:
                del self._steps[message_id]
        return len(old)

    async def put_agent(self, record: AgentRecord, version: AgentVersion | None = None) -> None:
        """Write an agent's state and, with it, a new version.

        Raises:
            Conflict: `already_exists`: there is a version of that number; nothing was written.
        """
        if version is not None:
            assert version.agent == record.name, "the version is this agent's"
            versions = self._versions.setdefault(record.name, [])
            if any(known.number == version.number for known in versions):
                raise Conflict(
                    "already_exists", f"{version.agent} already has a version {version.number}."
                )
            versions.append(version)
            versions.sort(key=lambda known: known.number)
        self._agents[record.name] = record

    async def agents(self) -> Sequence[AgentRecord]:
        """Return all agents by name."""
        return [self._agents[name] for name in sorted(self._agents)]

    async def agent_versions(self, agent: str) -> Sequence[AgentVersion]:
        """Return an agent's versions, oldest first."""
        return list(self._versions.get(agent, ()))

    async def delete_agent(self, agent: str) -> bool:
        """Delete an agent, its versions, usage and log; False if there was none."""
        if self._agents.pop(agent, None) is None:
            return False
        self._versions.pop(agent, None)
        self._logs.pop(agent, None)
        self._usage = {key: spent for key, spent in self._usage.items() if key[0] != agent}
        return True

    async def put_definition(self, definition: Definition) -> None:
        """Keep a definition of another node's agent. One that is there already stays."""
        self._definitions.setdefault(definition.digest, definition)

    async def definition(self, digest: str) -> Definition | None:
        """Return a definition: of another node's agent, or any version of an agent of our own."""
        if digest in self._definitions:
            return self._definitions[digest]
        for version in (one for versions in self._versions.values() for one in versions):
            if version.digest == digest:
                return Definition(digest=digest, format=version.format, source=version.source)
        return None

    async def definition_digests(self) -> Sequence[str]:
        """Return the digests of the definitions put, sorted; those of our own agents are not."""
        return sorted(self._definitions)

    async def delete_definitions(self, digests: Sequence[str]) -> int:
        """Forget definitions that were put; return how many there were."""
        return sum(self._definitions.pop(digest, None) is not None for digest in digests)

    async def node_number(self, name: str) -> int | None:
        """Return a number that the node keeps of itself, or None before it was put."""
        return self._numbers.get(name)

    async def node_numbers(self, prefix: str) -> Mapping[str, int]:
        """Return the numbers whose names begin with `prefix`, by name, in its order."""
        found = {name: value for name, value in self._numbers.items() if name.startswith(prefix)}
        return dict(sorted(found.items()))

    async def delete_node_number(self, name: str) -> None:
        """Keep a number no longer. Unknown names are fine."""
        self._numbers.pop(name, None)

    async def put_node_number(self, name: str, value: int) -> None:
        """Keep a number of the node's own, in place of what it was."""
        self._numbers[name] = value

    async def put_step(self, step: Step) -> None:
        """Write a step, or finish one that was started."""
        self._steps.setdefault(step.message_id, {})[step.number] = step

    async def steps(self, message_id: str) -> Sequence[Step]:
        """Return the steps of a message's turn, in order."""
        steps = self._steps.get(message_id, {})
        return [steps[number] for number in sorted(steps)]

    async def add_usage(
        self, *, agent: str, conversation_id: str, day: str, usage: UsageTotal
    ) -> None:
        """Add to what an agent spent in a conversation, on a day (`2026-01-31`, UTC)."""
        key = (agent, conversation_id, day)
        self._usage[key] = self._usage.get(key, UsageTotal()) + usage

    async def usage(
        self, *, agent: str, conversation_id: str | None = None, day: str | None = None
    ) -> UsageTotal:
        """Return what an agent spent: in a conversation, on a day, or ever."""
        found = (
            spent
            for (who, where, when), spent in self._usage.items()
            if who == agent
            and (conversation_id is None or where == conversation_id)
            and (day is None or when == day)
        )
        return sum(found, UsageTotal())

    async def put_log(self, agent: str, lines: Sequence[LogLine]) -> None:
        """Add to an agent's log, which keeps the last 1,000 lines."""
        if lines:
            log = self._logs.setdefault(agent, deque(maxlen=LOG_LINES_MAX))
            log.extend(replace(line, text=storable_text(line.text)) for line in lines)

    async def log(self, agent: str, *, tail: int = 100) -> Sequence[LogLine]:
        """Return the last lines of an agent's log, oldest first."""
        return list(self._logs.get(agent, ()))[-clamp_limit(tail) :]

    def _report(self, entry_count: int, committed: Committed | None) -> None:
        self.backlog -= entry_count
        if committed is not None:
            try:
                committed(None)
            except Exception:
                _LOG.exception("a commit callback failed")

    def _insert(self, stored: StoredMessage) -> None:
        self._by_seq[stored.seq] = stored
        self._seq_of_id[stored.message.id] = stored.seq
        self._in_conversation.setdefault(stored.message.conversation_id, {})[stored.seq] = None
        self._open[stored.seq] = None

    def _settle(self, end: Settlement) -> None:
        del self._open[end.seq]
        stored = self._by_seq[end.seq]
        self._by_seq[end.seq] = replace(
            stored,
            status=end.status,
            settled_at=end.settled_at,
            agent=stored.message.receiver if end.agent == RECEIVER else end.agent,
            started_at=end.started_at,
            attempts=end.attempts,
            reason=None if end.reason is None else storable_text(end.reason),
            node=end.node,
        )
        self._settled_order.append(end.seq)
        self._settled_count += 1

    def _delete(self, seq: int, *, with_steps: bool = True) -> None:
        """Remove a settled message. Its place in `_settled_order` is skipped when it comes up."""
        stored = self._by_seq.pop(seq)
        del self._seq_of_id[stored.message.id]
        siblings = self._in_conversation[stored.message.conversation_id]
        del siblings[seq]
        if not siblings:
            del self._in_conversation[stored.message.conversation_id]
        self._settled_count -= 1
        if with_steps:
            self._steps.pop(stored.message.id, None)

    def _forget_oldest(self) -> None:
        while self._settled_count > self._settled_max:
            seq = self._settled_order.popleft()
            if seq in self._by_seq:
                self._delete(seq)
        while self._settled_order and self._settled_order[0] not in self._by_seq:
            self._settled_order.popleft()


def _page(hits: Sequence[Item], limit: int, seq_of: Callable[[Item], int]) -> Page[Item]:
    shown = hits[:limit]
    return Page(tuple(shown), str(seq_of(shown[-1])) if len(hits) > limit else None)


def _conversation(conversation_id: str, stored: Sequence[StoredMessage]) -> Conversation:
    people: dict[str, None] = {}
    for one in stored[:PARTICIPANT_SCAN_MAX]:
        people[one.message.sender] = None
        people[one.message.receiver or one.agent or ""] = None
    people.pop("", None)
    is_active = any(one.status is DeliveryStatus.ACCEPTED for one in stored)
    return Conversation(
        id=conversation_id,
        participants=tuple(people)[:PARTICIPANTS_MAX],
        message_count=len(stored),
        status=ConversationStatus.ACTIVE if is_active else ConversationStatus.COMPLETED,
        created_at=min(one.accepted_at for one in stored),
        last_activity_at=max(one.accepted_at for one in stored),
    )
