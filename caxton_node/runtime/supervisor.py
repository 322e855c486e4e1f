"""Runs turns: workers take messages from seats, and every turn has an end.

The supervisor is the shell around the mailbox and the rules of supervision. Each seat has as
many workers as it needs, up to its agent's concurrency; a worker takes one message after the
other, and the last one sleeps when there is none. A turn ends by an answer, by an error that is
tried again or given up, by a crash, by its deadline, or because somebody called it off.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from caxton_node.domain.agent import AgentState
from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import CaxtonError, Failed, TimedOut
from caxton_node.domain.message import (
    CONTENT_BYTES_MAX,
    Message,
    encode_content,
    reply_to_message,
)
from caxton_node.domain.performatives import ANSWERABLE, positive_reply
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.agent import Reply
from caxton_node.runtime.context import Context, Speech
from caxton_node.runtime.seat import RunningTurn, Seat, Tenant
from caxton_node.store.protocol import AgentRecord
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.logging import begin_turn

__all__ = ["Supervisor"]

SWEEP_S: Final = 0.25
"""How often overdue turns are looked for: a turn ends at most this much after its deadline."""

TURNS_IN_A_ROW_MAX: Final = 64
"""After so many turns without a wait, a worker lets others run."""

_log = logging.getLogger("caxton.runtime")


class Supervisor:
    """Owns the workers of all seats."""

    def __init__(self, *, tasks: asyncio.TaskGroup, speech: Speech, counts: Counts) -> None:
        self._tasks = tasks
        self._speech = speech
        self._pipeline = speech.pipeline
        self._clock = speech.clock
        self._counts = counts
        self._seats: dict[Seat, None] = {}
        """Every seat that has or had workers, in order."""
        self._is_stopping = False
        self._all_done = asyncio.Event()

    @property
    def turns_under_way(self) -> int:
        """How many turns run now."""
        return sum(len(seat.running) for seat in self._seats)

    def spawn(self, seat: Seat) -> None:
        """Start one more worker for a seat."""
        seat.workers += 1
        self._seats[seat] = None
        self._tasks.create_task(self._work(seat), name=f"worker of {seat.agent}")

    async def _work(self, seat: Seat) -> None:
        in_a_row = 0
        task = asyncio.current_task()
        assert task is not None, "workers are tasks"
        try:
            while not (self._is_stopping or seat.is_dismissed):
                envelope = seat.next()
                if envelope is None:
                    if seat.has_sleeper:
                        return
                    in_a_row = 0
                    await seat.sleep()
                    continue
                if seat.mailbox.ready:
                    seat.wake()
                await self._take_turn(seat, envelope, task)
                in_a_row += 1
                if in_a_row >= TURNS_IN_A_ROW_MAX:
                    in_a_row = 0
                    await asyncio.sleep(0)
        finally:
            seat.workers -= 1

    async def _take_turn(self, seat: Seat, envelope: Envelope, task: asyncio.Task[None]) -> None:
        message = envelope.message
        now_ms = self._clock.now_ms()
        if message.reply_by is not None and message.reply_by <= now_ms:
            self._pipeline.expire(envelope)
            seat.mailbox.release(message.conversation_id)
            return
        envelope.attempts += 1
        envelope.started_at = now_ms
        tenant = seat.tenant
        deadline_ms = now_ms + int(tenant.spec.limits.time_s * 1000)
        if message.reply_by is not None:
            deadline_ms = min(deadline_ms, message.reply_by)
        turn = RunningTurn(envelope, task, deadline_ms)
        seat.running[message.conversation_id] = turn
        tenant.turns_under_way += 1
        begin_turn(seat.agent, message)
        error: BaseException | None = None
        reply: Any = None
        try:
            reply = await tenant.agent.handle(message, Context(seat.agent, turn, self._speech))
        except asyncio.CancelledError:
            if turn.stop_reason is None:
                raise
            task.uncancel()
        except Exception as problem:
            error = problem
            if not isinstance(problem, CaxtonError):
                tenant.agent.after_crash()
        finally:
            # From here to the end nothing awaits: a turn is either running or over.
            del seat.running[message.conversation_id]
            tenant.turns_under_way -= 1
            if tenant.is_replaced:
                self._close_if_idle(tenant)
            if self._is_stopping and not self.turns_under_way:
                self._all_done.set()
        ended_ms = self._clock.now_ms()
        seat.counts.busy_ms += ended_ms - now_ms
        seat.counts.last_activity_at = ended_ms
        self._end_turn(seat, turn, reply, error)

    def _end_turn(
        self, seat: Seat, turn: RunningTurn, reply: Any, error: BaseException | None
    ) -> None:
        envelope = turn.envelope
        if turn.stop_reason is not None:
            seat.counts.failed += 1
            self._stop_turn(envelope, turn)
        elif error is None:
            try:
                answer = self._answer(seat, envelope.message, reply)
            except CaxtonError as unusable:
                self._fail(seat, envelope, unusable)
                return
            seat.counts.finished += 1
            self._counts.turns_finished += 1
            self._pipeline.finish(envelope, answer)
        elif isinstance(error, CaxtonError):
            self._fail(seat, envelope, error)
            return
        else:
            self._crash(seat, envelope, error)
            return
        # What this makes ready, the worker that calls takes next.
        seat.mailbox.release(envelope.message.conversation_id)

    def _answer(self, seat: Seat, message: Message, answer: Any) -> Message | None:
        if message.performative not in ANSWERABLE:
            # Told, not asked. Two agents that answered what they are told would never stop.
            return None
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        try:
            content = encode_content(reply.content)
        except (TypeError, ValueError) as problem:
            raise Failed(
                "agent_failed", f"the agent's answer has no JSON form: {problem}"
            ) from None
        if len(content) > CONTENT_BYTES_MAX:
            raise Failed(
                "agent_failed",
                f"the agent's answer has {len(content):,} bytes; "
                f"a message carries {CONTENT_BYTES_MAX:,}",
            )
        return reply_to_message(
            message,
            message_id=self._speech.new_id("msg"),
            sender=seat.agent,
            performative=reply.performative or positive_reply(message.performative),
            content=content,
            now_ms=self._clock.now_ms(),
            metadata=dict(reply.metadata) if reply.metadata else None,
        )

    # When it does not go well.

    def _stop_turn(self, envelope: Envelope, turn: RunningTurn) -> None:
        match turn.stop_reason:
            case "expired":
                self._pipeline.expire(envelope)
            case "timed_out":
                took_s = (turn.deadline_ms - (envelope.started_at or 0)) / 1000
                error = TimedOut(
                    "timed_out",
                    f"the turn took longer than {took_s:g} s",
                    hint="`limits.time` in the agent's file bounds a turn.",
                )
                self._pipeline.give_up(envelope, error, f"timed_out: {error.detail}")
            case _:
                self._pipeline.cancel(envelope, partial=turn.partial)

    def _fail(self, seat: Seat, envelope: Envelope, error: CaxtonError) -> None:
        """End or postpone a turn that failed in a known way."""
        seat.counts.failed += 1
        self._counts.turns_failed += 1
        retry = self._pipeline.fail(envelope, error)
        if retry is None:
            seat.mailbox.release(envelope.message.conversation_id)
            seat.wake()
        else:
            self._postpone(seat, envelope, retry.delay_s)

    def _crash(self, seat: Seat, envelope: Envelope, error: BaseException) -> None:
        """End or postpone a turn in which the agent's code broke."""
        _log.error(
            "agent %s crashed in conversation %s",
            seat.agent,
            envelope.message.conversation_id,
            exc_info=error,
        )
        failure = Failed("agent_failed", f"{type(error).__name__}: {error}"[:500])
        if seat.crashes.should_fail_at_once():
            self._postpone(seat, envelope, 0.0)
            self.give_up_agent(seat)
            return
        self._fail(seat, envelope, failure)
        if envelope.is_over and seat.crashes.record_given_up(self._clock.now_ms() / 1000):
            self.give_up_agent(seat)

    def give_up_agent(self, seat: Seat) -> None:
        """Stop an agent that keeps crashing; its messages wait for a restart."""
        seat.state = AgentState.FAILED
        _log.error("agent %s is given up: %s", seat.agent, DeadReason.AGENT_FAILED)
        self._speech.events.publish("agent.failed", agent=seat.agent)
        record = AgentRecord(
            name=seat.agent,
            state=AgentState.FAILED,
            current=seat.tenant.number,
            changed_at=self._clock.now_ms(),
        )
        self._tasks.create_task(self._speech.store.put_agent(record))

    def _postpone(self, seat: Seat, envelope: Envelope, delay_s: float) -> None:
        """Take the turn again later. Its conversation stays closed meanwhile."""
        seat.retrying[envelope.message.conversation_id] = envelope

        def again() -> None:
            if seat.retrying.get(envelope.message.conversation_id) is envelope:
                del seat.retrying[envelope.message.conversation_id]
                seat.mailbox.put_back(envelope)
                seat.wake()

        self._clock.call_later(delay_s, again)

    # Ending turns from outside.

    def cancel(self, seat: Seat, request: Envelope) -> None:
        """Act on a `cancel`: call off what the same sender began in that conversation.

        Reference: FIPA SC00037J, `cancel`: only the initiator of an action may call it off.
        """
        message = request.message
        called_off = 0
        for waiting in list(seat.mailbox.waiting(message.conversation_id)):
            if not waiting.is_over and waiting.message.sender == message.sender:
                self._pipeline.cancel(waiting)
                called_off += 1
        retrying = seat.retrying.get(message.conversation_id)
        if retrying is not None and retrying.message.sender == message.sender:
            del seat.retrying[message.conversation_id]
            self._pipeline.cancel(retrying)
            seat.mailbox.release(message.conversation_id)
            called_off += 1
        turn = seat.running.get(message.conversation_id)
        if turn is not None and turn.envelope.message.sender == message.sender:
            self._stop(turn, "cancelled")
            called_off += 1
        request.started_at = self._clock.now_ms()
        request.attempts = 1
        answer = reply_to_message(
            message,
            message_id=self._speech.new_id("msg"),
            sender=seat.agent,
            performative=positive_reply(message.performative),
            content=encode_content({"cancelled": called_off}),
            now_ms=self._clock.now_ms(),
        )
        self._pipeline.finish(request, answer)
        seat.wake()

    def cancel_all(self, seat: Seat) -> None:
        """Call off every turn of a seat: its agent is being stopped or deleted."""
        for turn in list(seat.running.values()):
            self._stop(turn, "cancelled")

    def _stop(self, turn: RunningTurn, reason: str) -> None:
        if turn.stop_reason is None:
            turn.stop_reason = reason
            turn.task.cancel()

    async def sweep(self) -> None:
        """End overdue turns, for ever. One task of the node runs this."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now_ms = self._clock.now_ms()
            for turn in self._running():
                if turn.deadline_ms <= now_ms:
                    reply_by = turn.envelope.message.reply_by
                    is_expired = reply_by is not None and reply_by <= now_ms
                    self._stop(turn, "expired" if is_expired else "timed_out")

    async def drain(self, seats: Iterable[Seat], timeout_s: float) -> int:
        """Let the turns under way end, take no new ones, and stop the workers.

        Returns:
            How many turns had to be broken off. Their messages are journaled: the turns are
            taken again after the restart.
        """
        self._is_stopping = True
        self._all_done.clear()
        if self.turns_under_way:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._all_done.wait()
            except TimeoutError:
                pass
        broken_off = self.turns_under_way
        if broken_off:
            _log.warning("%d turns did not end in %g s; broken off", broken_off, timeout_s)
            for turn in self._running():
                turn.task.cancel()
        for seat in seats:
            seat.wake_all()
        return broken_off

    # Changing who sits there.

    def replace(self, seat: Seat, tenant: Tenant) -> None:
        """Seat another version. Turns under way end with the version they began."""
        before = seat.tenant
        seat.tenant = tenant
        seat.mailbox.capacity = tenant.spec.limits.mailbox
        seat.crashes.settings = tenant.spec.supervision
        before.is_replaced = True
        self._close_if_idle(before)

    def dismiss(self, seat: Seat) -> None:
        """Let the workers of a deleted agent go."""
        seat.state = AgentState.STOPPED
        seat.is_dismissed = True
        seat.wake_all()
        seat.tenant.is_replaced = True
        self._close_if_idle(seat.tenant)
        self._seats.pop(seat, None)

    def _running(self) -> list[RunningTurn]:
        return [turn for seat in self._seats for turn in seat.running.values()]

    def _close_if_idle(self, tenant: Tenant) -> None:
        if tenant.is_replaced and not tenant.turns_under_way and not self._is_stopping:
            self._tasks.create_task(tenant.agent.close(), name=f"close {tenant.spec.name}")
