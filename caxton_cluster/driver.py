"""Clock and sockets for a machine.

The only code of the package that waits for the network. It decides nothing about membership: if
a branch here looks at a member's state, it is misplaced. Every call into the machine is followed
by the same three steps: publish its events, send its datagrams, dial its streams.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.events import Event
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.outbox import Exchange
from caxton_cluster.swim.wire.messages import Message
from caxton_cluster.swim.wire.stream import StreamDecoder
from caxton_cluster.transport.sockets import Inbox, Sockets

__all__ = ["Driver"]

STREAMS_SERVED_MAX: Final = 128
"""Most accepted streams at once; more are closed and counted."""

DATAGRAMS_A_TURN_MAX: Final = 256
"""Datagrams taken in before timers and sending get their turn."""

READ_SIZE_BYTES: Final = 65_536

DECODED_HERE_SIZE_BYTES_MAX: Final = 65_536
"""Of one stream, read on the event loop; what follows is in a thread. Longer ones are rare, and may
be squeezed, of which a megabyte takes a second."""


class Driver:
    """Runs one machine.

    Args:
        machine: What to run.
        tasks: Owner of the tasks for streams.
        publish: Told of every event, in order; must not block.
    """

    def __init__(
        self, machine: Machine, tasks: asyncio.TaskGroup, publish: Callable[[Event], None]
    ) -> None:
        self.machine = machine
        self.streams_refused_count = 0
        self._tasks = tasks
        self._publish = publish
        self._sockets: Sockets | None = None
        self._served_count = 0
        self._streams: set[asyncio.Task[None]] = set()
        self._clock = asyncio.get_running_loop().time

    def attach(self, sockets: Sockets) -> None:
        """Use these sockets from now on."""
        self._sockets = sockets

    def now(self) -> float:
        """Return the machine's time, in seconds."""
        return self._clock()

    async def run(self) -> None:
        """Feed datagrams and time to the machine until cancelled."""
        assert self._sockets is not None, "attach first"
        inbox: Inbox = self._sockets.inbox
        while True:
            await inbox.wait(self.machine.wakeup_at())
            for data, sender in inbox.take(DATAGRAMS_A_TURN_MAX):
                self.machine.receive(data, sender, self._clock())
            self.machine.tick(self._clock())
            self._settle()

    def settle(self) -> None:
        """Carry out what a call into the machine asked for, and let its alarm be set anew."""
        self._settle()
        if self._sockets is not None:
            self._sockets.inbox.ring()

    def _settle(self) -> None:
        machine, sockets = self.machine, self._sockets
        for event in machine.take_events():
            self._publish(event)
        # Publishing may have asked for more; so the rest comes after it.
        for datagram in machine.take_datagrams():
            if sockets is not None:
                sockets.send(datagram.payload, datagram.target)
        for exchange in machine.take_exchanges():
            self._own(self._exchange(exchange), f"swim-dial-{exchange.id}")

    def _own(self, stream: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(stream, name=name)
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        return task

    def close(self) -> None:
        """End every stream: a peer that says nothing must not keep us from closing."""
        for stream in self._streams:
            stream.cancel()

    # Streams that we dial.

    async def _exchange(self, exchange: Exchange) -> None:
        machine = self.machine  # which may be another when the answer comes
        try:
            async with asyncio.timeout(exchange.timeout_s):
                reply = await self._dial(exchange)
        except MalformedPacket as error:
            machine.exchange_malformed(exchange.id, error, self.now())
        except ConnectionRefusedError:
            machine.exchange_failed(exchange.id, "connection refused", self.now(), is_refused=True)
        except TimeoutError:
            reason = f"no answer in {exchange.timeout_s:g} s"
            machine.exchange_failed(exchange.id, reason, self.now())
        except OSError as error:
            reason = error.strerror or type(error).__name__
            machine.exchange_failed(exchange.id, reason, self.now())
        else:
            machine.exchange_answered(exchange.id, reply, self.now())
        self.settle()

    async def _dial(self, exchange: Exchange) -> Message:
        reader, writer = await asyncio.open_connection(exchange.target.host, exchange.target.port)
        try:
            writer.write(exchange.request)
            await writer.drain()
            return await self._read(reader, self.machine.reply_decoder())
        finally:
            # Not `close`: a peer that stopped reading must not hold our bytes.
            writer.transport.abort()

    # Streams that others dial.

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve an accepted stream, if there are not too many."""
        if self._served_count >= STREAMS_SERVED_MAX or self._sockets is None:
            self.streams_refused_count += 1
            writer.transport.abort()
            return
        self._served_count += 1
        serving = self._own(self._serve(reader, writer), "swim-serve")
        # Not the task's own: one that is cancelled before its first step ends without a word.
        serving.add_done_callback(lambda _: self._end(writer))

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._served_count -= 1
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self.machine.config.stream_timeout_s):
                reply = await self._reply(reader)
                self.settle()
                if reply is not None:
                    writer.write(reply)
                    await writer.drain()
                writer.close()
                await writer.wait_closed()
        except OSError:
            return  # the peer went away or was too slow; it will try again

    async def _reply(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            request = await self._read(reader, self.machine.request_decoder())
        except MalformedPacket as error:
            return self.machine.refuse(error)
        return self.machine.serve(request, self.now())

    async def _read(self, reader: asyncio.StreamReader, decoder: StreamDecoder) -> Message:
        """Return the one message of a stream.

        Raises:
            MalformedPacket: It made no sense.
            ConnectionResetError: The stream ended before the message did.
        """
        received_bytes = 0
        while True:
            data = await reader.read(READ_SIZE_BYTES)
            if not data:
                raise ConnectionResetError("the peer closed the connection")
            self.machine.statistics.stream_bytes_received += len(data)
            received_bytes += len(data)
            if received_bytes <= DECODED_HERE_SIZE_BYTES_MAX:
                message = decoder.feed(data)
            else:
                message = await asyncio.to_thread(decoder.feed, data)
            if message is not None:
                return message
