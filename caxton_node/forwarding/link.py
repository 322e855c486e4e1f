"""One link: the shell around its machine, which owns a stream while there is one.

Two loops a stream: one reads frames and hands in what they hold, one writes when there is something
to write. Either ends with the stream. What is to be sent meanwhile waits in the machine.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc

from caxton.v1.peer_pb2 import LinkFrame
from caxton_node.domain.delivery import FINAL, DeliveryStatus
from caxton_node.domain.errors import CaxtonError
from caxton_node.forwarding.convert import (
    arrival_of,
    arrivals_of,
    fill_frame,
    fill_hello,
    hello_of,
)
from caxton_node.forwarding.errors import LinkBroken
from caxton_node.forwarding.inflow import Inflow
from caxton_node.forwarding.machine import Hello, LinkMachine, Self
from caxton_node.forwarding.outbox import Frame, Parcel
from caxton_node.forwarding.pace import Pace, lazy_s
from caxton_node.routing.arrivals import Arrival, Arrivals

__all__ = ["Link", "LinkEvents", "Stream"]

GREETING_TIMEOUT_S: Final = 5.0
PING_S: Final = 1.0
SILENCE_S: Final = 6.0
"""Without a frame for so long the other side is taken for gone, and the stream is ended."""

PINGS_MAX: Final = 64
"""Pings whose echo is waited for. Beyond it the oldest is not; a later echo says more."""

REGISTRY_BYTES_MAX: Final = 4_000_000
"""What waits to be said of the registry. Beyond it the oldest is dropped: digests repair it."""

REGISTRY_FRAME_BYTES_MAX: Final = 1_000_000
"""What one frame says of the registry; the rest goes in the next. One payload may be over it."""

_DELIVERED: Final = DeliveryStatus.DELIVERED

_ENDS_OF_STREAMS: Final = (LinkBroken, CaxtonError, grpc.RpcError, asyncio.InvalidStateError)
"""What ends a stream and not the node: the other side, the network, a store that cannot be read.
gRPC raises the last one when it is asked to write on a call that is over."""

_log = logging.getLogger("caxton.link")


class Stream(Protocol):
    """Both directions of one call, whichever side called."""

    async def read(self) -> LinkFrame | None:
        """Return the next frame, or None at the end."""
        ...

    async def write(self, fill: Callable[[LinkFrame], None]) -> None:
        """Send a frame that `fill` fills."""
        ...


class LinkEvents(Protocol):
    """What a link tells its owner."""

    def acked(self, link: "Link", parcels: list[Parcel]) -> None:
        """The other side has these messages."""
        ...

    def ended(self, parcels: list[Parcel], status: DeliveryStatus, reason: str | None) -> None:
        """These messages have their end over there."""
        ...

    def refused(self, parcel: Parcel, code: str, detail: str) -> None:
        """This message was not taken."""
        ...

    def left_over(self, link: "Link", parcels: list[Parcel]) -> None:
        """These messages have no outcome, and the numbering began anew."""
        ...

    def met(self, link: "Link") -> None:
        """The other side has said who it is."""
        ...

    def changed(self, link: "Link") -> None:
        """The link came up or went down."""
        ...

    def registry(self, node: str, payload: bytes) -> None:
        """The other side says something of the registry."""
        ...

    def echoed(self) -> None:
        """The other side has answered a ping."""
        ...

    @property
    def up_count(self) -> int:
        """Links that are up."""
        ...


class _Session:
    """The other node in one numbering: who is told of the ends of its messages."""

    __slots__ = ("_link", "node")

    def __init__(self, link: "Link") -> None:
        self._link = link
        self.node = link.node

    def ended(self, sequence: int, status: DeliveryStatus, reason: str | None) -> None:
        link = self._link
        if link.session is not self:
            return  # it began anew, and asks again
        outcomes = link.machine.outbox.outcomes
        if not outcomes.delivered:
            # With the first of them the link was poked already.
            link.poke_lazily()
        if status is _DELIVERED:
            outcomes.delivered.append(sequence)
        else:
            outcomes.ended.append((sequence, status.value, reason or ""))

    def refused(self, sequence: int, error: CaxtonError) -> None:
        link = self._link
        if link.session is self:
            link.machine.outbox.outcomes.refused.append((sequence, error.code, error.detail))
            link.poke_lazily()


class Link:
    """The link to one other node. All methods belong to the event loop."""

    def __init__(self, me: Self, node: str, *, events: LinkEvents, arrivals: Arrivals) -> None:
        self.node = node
        self.machine = LinkMachine(me, node)
        self._queue = self.machine.outbox.queue
        self.session = _Session(self)
        self.is_up = False
        self.round_trip_s: float | None = None
        self.received_count = 0
        self.break_count = 0
        self._events = events
        self._arrivals = arrivals
        self._registry: deque[bytes] = deque()
        self._registry_bytes = 0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._is_poked = False
        self._pace = Pace()
        self._read_at_s = 0.0
        self._ack_sent = 0
        self._credit_sent = 0
        self.echoed_at_s = -math.inf
        """When the latest ping that the other side answered was asked for, on the loop's clock: so
        late it was surely there. Survives the stream."""
        self._ping = 0
        self._pings: deque[tuple[int, float]] = deque(maxlen=PINGS_MAX)
        """Number and time of those without an echo."""
        self._pong = 0
        self._serving: asyncio.Task[Any] | None = None

    # What goes out.

    def send(self, parcel: Parcel) -> None:
        """Put a message in line."""
        self._queue(parcel)
        if not self._is_poked:
            self._poke_for_message()

    def _poke_for_message(self) -> None:
        if self.is_up:
            now_s = asyncio.get_running_loop().time()
            self.poke(self._pace.due_s(now_s, self._events.up_count) - now_s)
            self._is_poked = True

    def poke_lazily(self) -> None:
        """See to it that acks and outcomes go, with messages if there are some in time."""
        self.poke(lazy_s(self._events.up_count))

    def poke(self, delay_s: float) -> None:
        """See to it that a frame is written after `delay_s` seconds, or before."""
        if not self.is_up or self._wake.is_set():
            return
        if delay_s <= 0:
            self._wake.set()
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        if self._timer is not None:
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        # uvloop gives a handle without `when` for a delay below its resolution.
        self._timer, self._timer_due_s = loop.call_later(delay_s, self._ring), due_s

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    def say_registry(self, payload: bytes) -> bool:
        """Send something of the registry, if the link is up; it may be lost."""
        if not self.is_up:
            return False
        self._registry.append(payload)
        self._registry_bytes += len(payload)
        while self._registry_bytes > REGISTRY_BYTES_MAX and len(self._registry) > 1:
            self._registry_bytes -= len(self._registry.popleft())
        self.poke(0)
        return True

    def ping(self) -> None:
        """Have the other side answer at once, if the link is up: `echoed_at_s` tells when."""
        if self.is_up:
            self._ping += 1
            self._pings.append((self._ping, asyncio.get_running_loop().time()))
            self._wake.set()

    def let_go(self) -> list[Parcel]:
        """Forget the other node's life, and return all messages without an outcome, in order."""
        self.session = _Session(self)
        if self._serving is not None:
            self._serving.cancel()
        return self.machine.forget()

    # A stream.

    async def serve(self, stream: Stream, *, greeting: Hello | None = None) -> None:
        """Be linked by a stream until it ends. A stream that was there before is ended first.

        Args:
            stream: Newly opened.
            greeting: What the other side said first, where that was read already.

        Raises:
            LinkBroken: The other side broke the rules, or fell silent.
            LinkRefused: The nodes do not belong together.
        """
        await self._end_earlier()
        self._serving = asyncio.current_task()
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                hello = self.machine.hello()
                await stream.write(lambda frame: fill_hello(frame, hello))
                if greeting is None:
                    first = await stream.read()
                    greeting = None if first is None else hello_of(first)
            if greeting is None:
                raise LinkBroken(f"{self.node} did not say who it is")
            self._begin(greeting)
            await self._run(stream)
        except TimeoutError:
            raise LinkBroken(f"{self.node} does not answer") from None
        finally:
            self._serving = None
            self._go_down()

    async def _end_earlier(self) -> None:
        earlier = self._serving
        if earlier is not None and earlier is not asyncio.current_task():
            earlier.cancel()
            await asyncio.wait((earlier,), timeout=GREETING_TIMEOUT_S)

    def _begin(self, greeting: Hello) -> None:
        inflow = self.machine.inflow
        left = self.machine.meet(greeting)
        if self.machine.inflow is not inflow:
            self.session = _Session(self)
        self.is_up = True
        self._read_at_s = asyncio.get_running_loop().time()
        self._ack_sent = self._credit_sent = 0
        if left:
            self._events.left_over(self, left)
        self._events.met(self)
        self._events.changed(self)
        # Whoever waits for a majority need not ask again when a link comes up.
        self.ping()

    def _go_down(self) -> None:
        if self.is_up:
            self.is_up = False
            self.break_count += 1
            self._registry.clear()
            self._registry_bytes = 0
            self._pings.clear()
            self._wake.clear()
            self._is_poked = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._events.changed(self)

    async def _run(self, stream: Stream) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(stream), name=f"read from {self.node}")
                writing = tasks.create_task(self._write(stream), name=f"write to {self.node}")
                watching = tasks.create_task(self._watch(), name=f"watch {self.node}")
                await asyncio.wait((reading,))
                writing.cancel()
                watching.cancel()
        except ExceptionGroup as group:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A stream that breaks while its end is asked for must not swallow the asking.
                raise asyncio.CancelledError from group
            worst = group.exceptions[0]
            if isinstance(worst, _ENDS_OF_STREAMS):
                if isinstance(worst, grpc.aio.AioRpcError):
                    raise LinkBroken(f"{worst.code().name}: {worst.details()}") from group
                raise LinkBroken(str(worst)) from group
            raise

    async def _watch(self) -> None:
        """Notice a node that fell silent without a word, such as one that was stopped."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            if loop.time() - self._read_at_s > SILENCE_S:
                raise LinkBroken(f"{self.node} has been silent for {SILENCE_S:g} s")
            self.ping()

    # Writing.

    async def _write(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        outbox = self.machine.outbox
        pinged = self._ping
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._is_poked = False
            frame, is_more = None, True
            while is_more:
                frame = outbox.take()
                if frame is None and not self._has_news(pinged):
                    break
                pinged = await self._write_one(stream, frame, pinged)
                self._pace.sent(loop.time(), self._events.up_count)
                is_more = outbox.is_pressing or bool(self._registry)
            if frame is not None and outbox.pending_count:
                # Less than a frame: it gathers for a while. What has no credit waits to be woken.
                self._poke_for_message()
            if outbox.outcomes:
                self.poke_lazily()

    def _has_news(self, pinged: int) -> bool:
        inflow = self.machine.inflow
        return bool(
            inflow.ack > self._ack_sent
            or inflow.credit_through > self._credit_sent
            or self._registry
            or self._pong
            or self._ping > pinged
        )

    async def _write_one(self, stream: Stream, content: Frame | None, pinged: int) -> int:
        inflow = self.machine.inflow
        ack, credit_through = inflow.ack, inflow.credit_through
        registry = self._take_registry()
        pong, self._pong = self._pong, 0
        ping = self._ping

        def fill(frame: LinkFrame) -> None:
            frame.ack = ack
            frame.credit_through = credit_through
            frame.credit_bytes = inflow.credit_bytes
            if content is not None:
                fill_frame(frame, content)
            if registry:
                frame.registry.extend(registry)
            if pong:
                frame.pong = pong
            if ping > pinged:
                frame.ping = ping

        await stream.write(fill)
        self._ack_sent, self._credit_sent = ack, credit_through
        return ping

    def _take_registry(self) -> list[bytes]:
        """Take what one frame has room for."""
        taken: list[bytes] = []
        size_bytes = 0
        while self._registry:
            size_bytes += len(self._registry[0])
            if taken and size_bytes > REGISTRY_FRAME_BYTES_MAX:
                break
            payload = self._registry.popleft()
            self._registry_bytes -= len(payload)
            taken.append(payload)
        return taken

    # Reading.

    async def _read(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        while (frame := await stream.read()) is not None:
            self._read_at_s = loop.time()
            self._note_news(frame)
            if frame.number:
                await self._take(frame)
            for payload in frame.registry:
                self._events.registry(self.node, payload)
            if frame.ping:
                # Last: who gets the echo knows that all before it was taken in.
                self._pong = frame.ping
                self.poke(0)

    def _note_news(self, frame: LinkFrame) -> None:
        outbox = self.machine.outbox
        had_to_wait = outbox.pending_count
        outbox.grant(frame.credit_through, frame.credit_bytes)
        acked = outbox.acked(frame.ack)
        if acked:
            self._events.acked(self, acked)
        if had_to_wait:
            self._poke_for_message()
        if frame.pong:
            self._note_echo(frame.pong)

    def _note_echo(self, number: int) -> None:
        """Take in the answer to a ping, which is one to all before it."""
        while self._pings and self._pings[0][0] <= number:
            _, self.echoed_at_s = self._pings.popleft()
            self.round_trip_s = self._read_at_s - self.echoed_at_s
        self._events.echoed()

    async def _take(self, frame: LinkFrame) -> None:
        """Hand in what must arrive, once."""
        inflow, number = self.machine.inflow, frame.number
        is_new = number > inflow.received_through
        arrivals: list[Arrival] = []
        unreadable: list[int] = []
        if frame.HasField("chunk"):
            chunk = frame.chunk
            body = inflow.take_part(
                number, chunk.part, sequence=chunk.sequence if chunk.is_last else None
            )
            if body is not None:
                arrival = arrival_of(body, chunk)
                if arrival is None:
                    unreadable.append(chunk.sequence)
                else:
                    arrivals.append(arrival)
        else:
            messages = frame.messages
            sizes = [len(body) for body in messages.bodies]
            if inflow.take(number, messages.first_sequence, sizes) and sizes:
                arrivals, unreadable = arrivals_of(messages)
        if not is_new:
            return
        for sequence in unreadable:
            self.machine.outbox.outcomes.refused.append(
                (sequence, "invalid_message", "the message cannot be read here")
            )
        if frame.HasField("outcomes"):
            self._take_outcomes(frame)
        self.received_count += len(arrivals)
        await self._hand_in(arrivals, inflow, number)

    async def _hand_in(self, arrivals: list[Arrival], inflow: Inflow, number: int) -> None:
        def on_done() -> None:
            inflow.done(number)
            self.poke_lazily()

        try:
            if not arrivals:
                on_done()
            elif any(arrival.is_doubtful for arrival in arrivals):
                await self._arrivals.take_doubtful(arrivals, self.session, on_done)
            else:
                self._arrivals.take(arrivals, self.session, on_done)
        except BaseException:
            # The frame was counted and not handed in: only sent anew it is not lost.
            self.machine.miscounted()
            raise

    def _take_outcomes(self, frame: LinkFrame) -> None:
        outbox, outcomes = self.machine.outbox, frame.outcomes
        delivered = outbox.delivered(outcomes.delivered)
        if delivered:
            self._events.ended(delivered, _DELIVERED, None)
        for end in outcomes.ended:
            parcel = outbox.ended(end.sequence)
            if parcel is not None:
                self._events.ended([parcel], _end_named(end.status), end.reason or None)
        for refusal in outcomes.refused:
            parcel = outbox.ended(refusal.sequence)
            if parcel is not None:
                self._events.refused(parcel, refusal.code, refusal.detail)


def _end_named(text: str) -> DeliveryStatus:
    """Return the end that the other side names.

    Raises:
        LinkBroken: There is no such end.
    """
    for status in FINAL:
        if status.value == text:
            return status
    raise LinkBroken(f"{text!r} is no end of a message")
