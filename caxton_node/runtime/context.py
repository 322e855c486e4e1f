"""What an agent may do within one turn: speak to others, show progress, know its deadline.

Questions and messages sent within a turn carry ids made of the message's own id and a number.
A turn that is taken again after a crash makes the same ids, so nothing is sent twice, and the
answer to a question asked before the crash is found in the journal.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Failed
from caxton_node.domain.ids import IdFactory
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import NEGATIVE, Performative, act_named
from caxton_node.routing.clock import Clock
from caxton_node.routing.envelope import Envelope
from caxton_node.routing.pipeline import Pipeline
from caxton_node.routing.waiting import ASK_MARK, Answers, answer_within
from caxton_node.runtime.seat import RunningTurn
from caxton_node.store.protocol import Store, StoredMessage
from caxton_node.telemetry.events import Events
from caxton_node.telemetry.message_spans import begin_send
from caxton_node.telemetry.spans import NO_SPAN, Attribute, Kind, NoSpan, Span, Tracing
from caxton_node.tools.tool import Outbox

__all__ = ["DEPTH_MAX", "Context", "Speech", "StepOutbox", "is_same"]

DEPTH_MAX: Final = 8
"""How deep agents may ask agents within one request. One more is a loop."""

ANSWERS_SEARCHED_MAX: Final = 1_000
"""Messages of a sub-conversation in which an answer from before a crash is looked for."""

PARTIAL_LENGTH_MAX: Final = 100_000
"""Characters of an unfinished answer that are kept."""


class Speech:
    """How turns speak: the parts of the node that a context needs, built once."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        answers: Answers,
        store: Store,
        events: Events,
        clock: Clock,
        new_id: IdFactory,
        tracing: Tracing,
    ) -> None:
        self.pipeline = pipeline
        self.answers = answers
        self.store = store
        self.events = events
        self.clock = clock
        self.new_id = new_id
        self.tracing = tracing

    async def find_answer(self, question: Message) -> Message | None:
        """Return the good answer to a question that was asked before a crash, if it came.

        A refusal or a failure is no reason not to ask again: the turn is taken again because
        something went wrong.
        """
        page = await self.store.messages(
            conversation_id=question.conversation_id, limit=ANSWERS_SEARCHED_MAX
        )
        for stored in page.items:
            answer = stored.message
            if (
                answer.in_reply_to == question.id
                and answer.receiver == question.sender
                and question.receiver in ("", answer.sender)
                and answer.performative not in NEGATIVE
            ):
                return answer
        return None

    def call_off(self, question: Message, agent: str) -> None:
        """Tell an agent that the answer to a question is not wanted any more."""
        stop = msgspec.structs.replace(
            question,
            id=self.new_id("msg"),
            performative=Performative.CANCEL,
            receiver=agent,
            capability=None,
            content=b"null",
            delivery=DeliveryMode.AT_MOST_ONCE,
        )
        # Whoever is gone already need not be told.
        with suppress(CaxtonError):
            self.pipeline.submit(stop, is_internal=True)


def is_same(one: Message, other: Message) -> bool:
    """Whether two messages under one id say the same to the same."""
    return (
        one.performative is other.performative
        and one.receiver == other.receiver
        and one.capability == other.capability
        and one.content == other.content
    )


class Context(msgspec.Struct, eq=False):
    """One turn, seen from the agent. Implements `TurnContext`."""

    agent: str
    _turn: RunningTurn
    _speech: Speech
    _count: int = 0

    @property
    def message(self) -> Message:
        """What the turn is taken on."""
        return self._turn.envelope.message

    @property
    def attempt(self) -> int:
        """How often this message has been tried, this time included."""
        return self._turn.envelope.attempts

    @property
    def deadline_ms(self) -> int:
        """Instant at which the turn is ended."""
        return self._turn.deadline_ms

    @property
    def is_resumed(self) -> bool:
        """Whether this turn may have begun before."""
        return self.attempt > 1 or self._turn.envelope.is_recovered

    @property
    def traceparent(self) -> str | None:
        """What is being done belongs to this, for the header of that name in calls to others."""
        span = self._turn.span
        return self.message.traceparent if span is None else span.traceparent

    def step_outbox(self, step: int) -> Outbox:
        """Return an outbox for one step: its messages carry the step's number."""
        return StepOutbox(self, step)

    @contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Attribute | None]
    ) -> Iterator[Span | NoSpan]:
        """Record a part of the turn; what is asked of others within belongs to it."""
        turn = self._turn
        above = turn.span
        if above is None:
            yield NO_SPAN
            return
        with self._speech.tracing.begin(name, kind, above.traceparent, attributes) as span:
            turn.span = span if isinstance(span, Span) else above
            try:
                yield span
            finally:
                turn.span = above

    def show(self, kind: str, **data: Any) -> None:
        """Show something to whoever watches the conversation."""
        if self._speech.events.has_watchers:
            self._speech.events.publish(
                kind,
                agent=self.agent,
                message_id=self.message.id,
                conversation_id=self.message.conversation_id,
                **data,
            )

    def keep_partial(self, text: str) -> None:
        """Remember what there is so far, for the answer to a `cancel`."""
        self._turn.partial = None
        self._turn.partial_length = 0
        self.add_partial(text)

    def add_partial(self, text: str) -> None:
        """Remember one more piece of what there is so far, up to `PARTIAL_LENGTH_MAX`."""
        turn = self._turn
        piece = text[: PARTIAL_LENGTH_MAX - turn.partial_length]
        if piece:
            if turn.partial is None:
                turn.partial = []
            turn.partial.append(piece)
            turn.partial_length += len(piece)

    async def tell(
        self,
        *,
        receiver: str = "",
        capability: str | None = None,
        performative: Performative = Performative.INFORM,
        content: Any,
    ) -> str:
        """Send without waiting for an answer; return the message's id once it is accepted."""
        self._count += 1
        return await self.tell_as(
            f"{self._count}",
            receiver=receiver,
            capability=capability,
            performative=performative,
            content=content,
        )

    async def ask(
        self,
        *,
        receiver: str = "",
        capability: str | None = None,
        performative: Performative = Performative.REQUEST,
        content: Any,
        timeout_s: float,
    ) -> Message:
        """Send, wait for the answer and return it; it may be a negative act."""
        self._count += 1
        return await self.ask_as(
            f"{self._count}",
            receiver=receiver,
            capability=capability,
            performative=performative,
            content=content,
            timeout_s=timeout_s,
        )

    async def tell_as(
        self,
        number: str,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
    ) -> str:
        """Tell under a given number within the turn."""
        message = self._message(number, receiver, capability, performative, content)
        earlier = await self._earlier(message)
        if earlier is not None and is_same(earlier.message, message):
            return message.id
        if earlier is not None:
            message = self._differently(message)
        await self._send(message)
        return message.id

    async def _send(self, message: Message) -> Envelope:
        message, span = begin_send(self._speech.tracing, message)
        with span:
            return await self._speech.pipeline.send(
                message, is_internal=True, is_doubtful=self.is_resumed
            )

    async def _earlier(self, message: Message) -> StoredMessage | None:
        """Return what an earlier attempt at this turn sent under the same number."""
        if not self.is_resumed:
            return None
        return await self._speech.store.message(message.id)

    def _differently(self, message: Message) -> Message:
        """Return a message under another id than an earlier attempt used for something else."""
        return msgspec.structs.replace(message, id=f"{message.id}r{self._speech.clock.now_ms()}")

    async def ask_as(
        self,
        number: str,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
        timeout_s: float,
    ) -> Message:
        """Ask under a given number within the turn."""
        question = self._message(number, receiver, capability, performative, content)
        left_s = max(0.0, (self.deadline_ms - self._speech.clock.now_ms()) / 1000)
        earlier = await self._earlier(question)
        is_pending = (
            earlier is not None
            and is_same(earlier.message, question)
            and earlier.status is DeliveryStatus.ACCEPTED
        )
        if earlier is not None and not is_pending:
            if is_same(earlier.message, question):
                found = await self._speech.find_answer(question)
                if found is not None:
                    return found
            question = self._differently(question)
        with self._speech.answers.expect(self.agent, question.id) as answer:
            agent = ""
            if is_pending:
                # It may have been answered since we looked.
                found = await self._speech.find_answer(question)
                if found is not None:
                    return found
            else:
                envelope = await self._send(question)
                agent = envelope.inbox.agent if envelope.inbox is not None else ""
            try:
                return await answer_within(answer, min(timeout_s, left_s))
            except asyncio.CancelledError:
                if agent:
                    self._speech.call_off(question, agent)
                raise

    def _message(
        self,
        number: str,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
    ) -> Message:
        message = self.message
        depth = int((message.metadata or {}).get("depth", 0)) + 1
        if depth > DEPTH_MAX:
            raise Failed("loop_detected", f"agents have asked each other {DEPTH_MAX} levels deep")
        return Message(
            id=f"{message.id}{ASK_MARK}{number}",
            performative=act_named(performative),
            sender=self.agent,
            receiver=receiver,
            capability=capability,
            content=encode_content(content),
            # A conversation of its own: the one this turn holds is closed until the turn ends.
            conversation_id=f"{message.conversation_id}.{number}",
            delivery=message.delivery,
            created_at=self._speech.clock.now_ms(),
            traceparent=self.traceparent,
            metadata={"depth": depth},
        )


class StepOutbox:
    """The context's outbox for one step of the turn: its messages carry the step's number."""

    def __init__(self, context: Context, step: int) -> None:
        self._context = context
        self._step = step
        self._count = 0

    def _next(self) -> str:
        self._count += 1
        return f"s{self._step}-{self._count}"

    async def tell(
        self,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
    ) -> str:
        """Send without waiting for an answer; return the message's id."""
        return await self._context.tell_as(
            self._next(),
            receiver=receiver,
            capability=capability,
            performative=performative,
            content=content,
        )

    async def ask(
        self,
        *,
        receiver: str,
        capability: str | None,
        performative: Performative,
        content: Any,
        timeout_s: float,
    ) -> Message:
        """Send and return the answer, which may be a negative act."""
        return await self._context.ask_as(
            self._next(),
            receiver=receiver,
            capability=capability,
            performative=performative,
            content=content,
            timeout_s=timeout_s,
        )
