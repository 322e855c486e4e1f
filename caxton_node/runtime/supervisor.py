"""Runs turns: workers take messages from seats, and every turn has an end.

The supervisor is the shell around the mailbox and the rules of supervision. Each seat has as
many workers as it needs, up to its agent's concurrency; a worker takes one message after the
other, and the last one sleeps when there is none. A turn ends by an answer, by an error that is
tried again or given up, by a crash, by its deadline, or because somebody called it off.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, assert_never

import msgspec

from caxton_node.domain.agent import AgentKind, AgentState
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.errors import CaxtonError, Failed, TimedOut
from caxton_node.domain.message import (
    CONTENT_BYTES_MAX,
    Message,
    encode_content,
    reply_to_message,
)
from caxton_node.domain.performatives import ANSWERABLE, act_named, positive_reply, reply_act
from caxton_node.routing.envelope import OVER, RETRYING, RUNNING, Envelope
from caxton_node.routing.recovery import begun_before
from caxton_node.runtime.agent import Reply
from caxton_node.runtime.clock_jumps import ClockJumps
from caxton_node.runtime.context import Context, Speech
from caxton_node.runtime.seat import RunningTurn, Seat, StopReason, Tenant
from caxton_node.store.protocol import Mark
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.logging import note_turns
from caxton_node.telemetry.message_spans import begin_process
from caxton_node.telemetry.spans import Span
from caxton_node.telemetry.trace import is_sampled

__all__ = ["Supervisor"]

SWEEP_S: Final = 0.25
"""How often overdue turns are looked for: a turn ends at most this much after its deadline."""

STOP_GRACE_MS: Final = 1_000
"""How long a turn that was told to end may take before its sender is told that it has."""

TURNS_IN_A_ROW_MAX: Final = 64
"""After so many turns without a wait, a worker lets others run."""

# Python 3.11 looks a member of an enum up by a function call; this is asked at every message.
_EXACTLY_ONCE: Final = DeliveryMode.EXACTLY_ONCE

OnFailed = Callable[[Seat], Coroutine[Any, Any, None]]

_log = logging.getLogger("caxton.runtime")


async def _nobody_notes(seat: Seat) -> None:
    """Stand in until somebody keeps records."""


class Supervisor:
    """Owns the workers of all seats."""

    def __init__(self, *, tasks: asyncio.TaskGroup, speech: Speech, counts: Counts) -> None:
        self._tasks = tasks
        self._speech = speech
        self._pipeline = speech.pipeline
        self._clock = speech.clock
        self._clock_ms = speech.clock.now_ms
        self._counts = counts
        self._tracing = speech.tracing
        self._seats: dict[Seat, None] = {}
        """Every seat that has or had workers, in order."""
        self._is_stopping = False
        self._all_done = asyncio.Event()
        self.on_failed: OnFailed = _nobody_notes
        """Writes down that an agent was given up. Whoever keeps the records sets it."""

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
        task = asyncio.current_task()
        assert task is not None, "workers are tasks"
        try:
            while True:
                seat.note_arrival()
                await self._take_turns(seat, task)
                if seat.workers > seat.spec.limits.concurrency:
                    seat.wake()
                    return
                if self._is_stopping or seat.is_dismissed or seat.has_sleeper:
                    return
                await seat.sleeper()
        finally:
            seat.workers -= 1

    async def _take_turns(self, seat: Seat, task: asyncio.Task[None]) -> None:
        """Take one turn after the other until there is nothing to do for this worker."""
        in_a_row = 0
        note = note_turns(seat.agent)
        now_ms = self._clock_ms()
        while not (self._is_stopping or seat.is_dismissed):
            envelope = seat.next()
            if envelope is None:
                return
            turn = self._begin_turn(seat, envelope, task, now_ms)
            if turn is not None:
                answer: Any = None
                error: BaseException | None = None
                note.message = envelope.message
                context = Context(seat.agent, turn, self._speech)
                try:
                    if envelope.message.delivery is _EXACTLY_ONCE:
                        await self._begin_once(turn)
                    answer = await turn.tenant.agent.handle(envelope.message, context)
                except (Exception, SystemExit, asyncio.CancelledError) as problem:
                    error = problem
                # From here to the next turn nothing awaits: a turn is either running or over,
                # and the one begins when the other ends.
                now_ms = self._clock_ms()
                self._end_turn(seat, turn, answer, error, now_ms)
            if seat.workers > seat.spec.limits.concurrency:
                return
            in_a_row += 1
            if in_a_row >= TURNS_IN_A_ROW_MAX:
                in_a_row = 0
                await asyncio.sleep(0)
                now_ms = self._clock_ms()

    def _begin_turn(
        self, seat: Seat, envelope: Envelope, task: asyncio.Task[None], now_ms: int
    ) -> RunningTurn | None:
        """Note a turn as running; None when its message came too late."""
        message = envelope.message
        tenant = seat.tenant
        deadline_ms: int = now_ms + tenant.time_ms
        if message.reply_by is not None:
            if message.reply_by <= now_ms:
                self._pipeline.expire(envelope)
                seat.mailbox.release(message.conversation_id)
                return None
            deadline_ms = min(deadline_ms, message.reply_by)
        envelope.phase = RUNNING
        envelope.attempts += 1
        envelope.started_at = now_ms
        turn = RunningTurn(envelope, task, deadline_ms, tenant)
        seat.running[message.conversation_id] = turn
        tenant.turns_under_way += 1
        if self._tracing.is_recording and is_sampled(message.traceparent):
            turn.span = begin_process(
                self._tracing,
                message,
                seat.agent,
                attempt=envelope.attempts,
                wait_ms=now_ms - message.created_at,
            )
        return turn

    async def _begin_once(self, turn: RunningTurn) -> None:
        """Write down that a turn begins which must not be taken twice.

        Raises:
            Failed: `outcome_unknown`: it began before the process ended, and cannot go on.
            Unavailable: `storage_unavailable`.
        """
        envelope, spec = turn.envelope, turn.tenant.spec
        if envelope.begun_by is not None and spec.kind is not AgentKind.LLM:
            raise begun_before(spec.name)
        await self._pipeline.journal.marked(
            Mark(
                envelope.seq,
                envelope.started_at or self._clock_ms(),
                agent=spec.name,
                attempts=envelope.attempts,
            )
        )

    def _end_turn(
        self,
        seat: Seat,
        turn: RunningTurn,
        answer: Any,
        error: BaseException | None,
        ended_ms: int,
    ) -> None:
        """Settle or postpone the message of a turn that is over.

        Raises:
            asyncio.CancelledError: It is the worker that was cancelled. Nothing of an agent's.
        """
        envelope, tenant = turn.envelope, turn.tenant
        del seat.running[envelope.message.conversation_id]
        tenant.turns_under_way -= 1
        if turn.span is None:
            self._counts.turn_s.observe((ended_ms - (envelope.started_at or ended_ms)) / 1000)
        else:
            self._end_span(turn, turn.span, error, ended_ms)
        if tenant.is_replaced:
            self._close_if_idle(tenant)
        if self._is_stopping and not self.turns_under_way:
            self._all_done.set()
        if error is not None:
            _raise_if_the_worker_is_meant(turn, error)
        seat.counts.busy_ms += ended_ms - (envelope.started_at or ended_ms)
        seat.counts.last_activity_at = ended_ms
        if turn.stop_reason is not None:
            seat.counts.failed += 1
            if envelope.phase != OVER:
                self._stop_turn(envelope, turn)
        elif error is None:
            reply = None
            try:
                # Who is told, not asked, answers nothing: two that did would never stop.
                if envelope.message.performative in ANSWERABLE:
                    reply = self._reply(seat, envelope.message, answer, ended_ms)
            except CaxtonError as unusable:
                self._fail(seat, envelope, unusable)
                return
            if reply is not None and turn.span is not None:
                reply = msgspec.structs.replace(reply, traceparent=turn.span.traceparent)
            seat.counts.finished += 1
            self._counts.turns_finished += 1
            self._pipeline.finish(envelope, reply, ended_at=ended_ms)
        elif isinstance(error, CaxtonError):
            self._fail(seat, envelope, error)
            return
        else:
            self._crash(seat, turn, error)
            return
        # What this makes ready, the worker that calls takes next.
        seat.mailbox.release(envelope.message.conversation_id)

    def _end_span(
        self, turn: RunningTurn, span: Span, error: BaseException | None, ended_ms: int
    ) -> None:
        """End what was recorded of a turn, and let its duration lead to it."""
        if turn.stop_reason is not None:
            span.fail(turn.stop_reason.value)
        elif error is not None:
            span.fail(error)
        span.end()
        duration_s = (ended_ms - (turn.envelope.started_at or ended_ms)) / 1000
        self._counts.turn_s.observe_traced(duration_s, span.trace.trace_id, ended_ms / 1000)

    def _reply(self, seat: Seat, message: Message, answer: Any, now_ms: int) -> Message:
        """Build what is sent to whoever asked.

        Raises:
            Failed: `agent_failed`, when the answer cannot be sent.
        """
        metadata = wanted = None
        try:
            if isinstance(answer, Reply):
                if answer.performative is not None:
                    wanted = act_named(answer.performative)
                if answer.metadata:
                    metadata = dict(answer.metadata)
                    msgspec.msgpack.encode(metadata)
                answer = answer.content
            act = reply_act(message.performative, wanted)
            content = encode_content(answer)
        except Exception as problem:
            raise Failed(
                "agent_failed",
                f"the agent's answer cannot be sent: {type(problem).__name__}: {problem}"[:500],
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
            performative=act,
            content=content,
            now_ms=now_ms,
            metadata=metadata,
        )

    # When it does not go well.

    def _stop_turn(self, envelope: Envelope, turn: RunningTurn) -> None:
        match turn.stop_reason:
            case StopReason.EXPIRED:
                self._pipeline.expire(envelope)
            case StopReason.TIMED_OUT:
                took_s = (turn.deadline_ms - (envelope.started_at or 0)) / 1000
                error = TimedOut(
                    "timed_out",
                    f"the turn took longer than {took_s:g} s",
                    hint="`limits.time` in the agent's file bounds a turn.",
                )
                self._pipeline.give_up(envelope, error, f"timed_out: {error.detail}")
            case StopReason.CANCELLED:
                self._pipeline.cancel(envelope, partial="".join(turn.partial or ()))
            case None:
                raise AssertionError("only a turn that was told to end is ended")
            case _ as unreachable:
                assert_never(unreachable)

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

    def _crash(self, seat: Seat, turn: RunningTurn, error: BaseException) -> None:
        """End or postpone a turn in which the agent's code broke."""
        envelope, tenant = turn.envelope, turn.tenant
        _log.error("agent %s crashed", seat.agent, exc_info=error)
        tenant.agent.after_crash()
        # What a version did that sits here no more is not held against the one that does.
        is_current = tenant is seat.tenant
        if is_current and seat.crashes.should_fail_at_once():
            self._postpone(seat, envelope, 0.0)
            self._give_up_agent(seat)
            return
        self._fail(seat, envelope, Failed("agent_failed", f"{type(error).__name__}: {error}"[:500]))
        is_lost = envelope.phase == OVER
        if is_lost and is_current and seat.crashes.record_given_up(self._clock.now_ms() / 1000):
            self._give_up_agent(seat)

    def _give_up_agent(self, seat: Seat) -> None:
        """Stop an agent that keeps crashing; its messages wait for a restart."""
        seat.state = AgentState.FAILED
        _log.error("agent %s is given up after too many crashes", seat.agent)
        self._speech.events.publish("agent.failed", agent=seat.agent)
        self._tasks.create_task(self.on_failed(seat), name=f"note that {seat.agent} failed")

    def _postpone(self, seat: Seat, envelope: Envelope, delay_s: float) -> None:
        """Take the turn again later. Its conversation stays closed meanwhile."""
        envelope.phase = RETRYING
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
        called_off = [
            waiting
            for waiting in (
                *seat.mailbox.waiting(message.conversation_id),
                *filter(None, [seat.retrying.get(message.conversation_id)]),
            )
            if waiting.message.sender == message.sender
        ]
        for envelope in called_off:
            seat.discard(envelope)
            self._pipeline.cancel(envelope)
        count = len(called_off)
        turn = seat.running.get(message.conversation_id)
        if turn is not None and turn.envelope.message.sender == message.sender:
            self._stop(turn, StopReason.CANCELLED)
            count += 1
        request.started_at = self._clock.now_ms()
        request.attempts = 1
        answer = reply_to_message(
            message,
            message_id=self._speech.new_id("msg"),
            sender=seat.agent,
            performative=positive_reply(message.performative),
            content=encode_content({"cancelled": count}),
            now_ms=self._clock.now_ms(),
        )
        self._pipeline.finish(request, answer)
        seat.wake()

    def cancel_all(self, seat: Seat) -> None:
        """Call off every turn of a seat: its agent is being stopped or deleted."""
        for turn in list(seat.running.values()):
            self._stop(turn, StopReason.CANCELLED)

    def _stop(self, turn: RunningTurn, reason: StopReason) -> None:
        if turn.stop_reason is None:
            turn.stop_reason = reason
            turn.stopped_at = self._clock.now_ms()
        turn.task.cancel()

    async def sweep(self) -> None:
        """End overdue turns, for ever. One task of the node runs this."""
        passed_s = asyncio.get_running_loop().time
        jumps = ClockJumps(self._clock.now_ms(), passed_s())
        while True:
            await asyncio.sleep(SWEEP_S)
            now_ms = self._clock.now_ms()
            jump_ms = jumps.since(now_ms, passed_s())
            if jump_ms:
                self._follow_clock(jump_ms)
            for turn in self._running():
                if turn.stop_reason is not None:
                    self._insist(turn, now_ms)
                elif turn.deadline_ms <= now_ms:
                    reply_by = turn.envelope.message.reply_by
                    is_expired = reply_by is not None and reply_by <= now_ms
                    self._stop(turn, StopReason.EXPIRED if is_expired else StopReason.TIMED_OUT)
            for seat in [seat for seat in self._seats if seat.is_dismissed and not seat.running]:
                del self._seats[seat]

    def _follow_clock(self, jump_ms: int) -> None:
        """Leave turns the time that they had left before the clock was set."""
        _log.warning("the clock was set by %+.1f s: turns keep the time they have", jump_ms / 1000)
        for turn in self._running():
            turn.stopped_at += jump_ms
            deadline_ms, reply_by = turn.deadline_ms + jump_ms, turn.envelope.message.reply_by
            # When an answer is too late to be of use is said by the asker's clock.
            turn.deadline_ms = deadline_ms if reply_by is None else min(deadline_ms, reply_by)
            if turn.envelope.started_at is not None:
                turn.envelope.started_at += jump_ms

    def _insist(self, turn: RunningTurn, now_ms: int) -> None:
        """Tell a turn again to end, and its sender that it has, when the agent does not listen.

        Its conversation stays closed until the agent's code really returns.
        """
        if now_ms - turn.stopped_at < STOP_GRACE_MS:
            return
        if turn.envelope.phase != OVER:
            _log.error("a turn does not end although it was told to")
            self._stop_turn(turn.envelope, turn)
        turn.task.cancel()

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
        for seat in {**dict.fromkeys(seats), **self._seats}:
            # Also those that are being left, which are on no roster.
            seat.wake_all()
        return broken_off

    # Changing who sits there.

    def replace(self, seat: Seat, tenant: Tenant) -> None:
        """Seat another version. Turns under way end with the version they began."""
        before = seat.tenant
        seat.take_in(tenant)
        before.is_replaced = True
        self._close_if_idle(before)

    def dismiss(self, seat: Seat) -> None:
        """Let the workers of a deleted agent go."""
        seat.state = AgentState.STOPPED
        seat.is_left = seat.is_dismissed = True
        seat.wake_all()
        seat.tenant.is_replaced = True
        self._close_if_idle(seat.tenant)

    def _running(self) -> list[RunningTurn]:
        return [turn for seat in self._seats for turn in seat.running.values()]

    def _close_if_idle(self, tenant: Tenant) -> None:
        if tenant.is_replaced and not tenant.turns_under_way and not self._is_stopping:
            self._tasks.create_task(self._close(tenant), name=f"close {tenant.spec.name}")

    async def _close(self, tenant: Tenant) -> None:
        try:
            await tenant.agent.close()
        except Exception:
            _log.exception("agent %s could not be closed", tenant.spec.name)


def _raise_if_the_worker_is_meant(turn: RunningTurn, error: BaseException) -> None:
    """Tell the end of a worker from the end of one turn.

    Raises:
        asyncio.CancelledError: It is the worker that was cancelled.
    """
    if not isinstance(error, asyncio.CancelledError):
        return
    if turn.stop_reason is not None:
        while turn.task.cancelling():
            turn.task.uncancel()
    elif turn.task.cancelling():
        raise error
    # Otherwise the agent let a cancellation of its own out: that is a crash, not ours.
