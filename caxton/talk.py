"""One stream to send on and be answered on: the quickest way to have many questions under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import grpc

from caxton import models, wire
from caxton.connection import Connection
from caxton.errors import CaxtonError, Unavailable, error_from_detail, error_from_rpc
from caxton.outgoing import outgoing
from caxton.v1 import messages_pb2
from caxton.v1.messages_pb2_grpc import MessagesStub

__all__ = ["Talk"]

OPEN_S: Final = 10.0

_Request = messages_pb2.MessagesConverseRequest


class Talk:
    """A stream. Use `CaxtonClient.talk`.

    Answers to what is sent here, and other answers for its name, are iterated over. An answer that
    comes while the window is full of unread ones is not delivered; it stays in its conversation.
    """

    def __init__(self, connection: Connection, name: str, window: int) -> None:
        self._connection = connection
        self._window = window
        self.name = name
        """Under which answers reach the stream; the server's choice once it is open."""
        self._call: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._outcomes: dict[int, asyncio.Future[models.Acceptance]] = {}
        # Bounded: the server delivers no more than the window.
        self._deliveries: asyncio.Queue[tuple[int, models.Message] | None] = asyncio.Queue()
        self._tag = 0
        self._writing = asyncio.Lock()
        self._failure: CaxtonError | None = None

    async def __aenter__(self) -> Self:
        self._call = await self._connection.open_stream(lambda to: MessagesStub(to).Converse)
        opening = messages_pb2.ConverseOpen(name=self.name, window=self._window)
        try:
            async with asyncio.timeout(OPEN_S):
                await self._call.write(_Request(open=opening))
                first = await self._call.read()
        except TimeoutError:
            self._call.cancel()
            raise Unavailable("unreachable", "the stream was not opened in time") from None
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure) from None
        if first is grpc.aio.EOF:
            raise Unavailable("unreachable", "the stream ended before it was open")
        self.name = first.opened.name
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="caxton-talk")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def send(
        self, receiver: str | None = None, content: Any = None, **more: Any
    ) -> models.Acceptance:
        """Send a message and return the server's word for it.

        Args:
            receiver: An agent; or name a `capability` instead.
            content: Any JSON value.
            **more: As for `CaxtonClient.send`, without `wait_s`.

        Raises:
            CaxtonError: It was not taken, or the stream is broken; what was sent on a stream that
                broke may have been accepted.
        """
        self._raise_if_broken()
        message = outgoing(
            {"receiver": receiver, "content": content, "performative": "request", **more}
        )
        self._tag += 1
        tag = self._tag
        outcome = asyncio.get_running_loop().create_future()
        self._outcomes[tag] = outcome
        try:
            await self._write(_Request(send=messages_pb2.ConverseSend(tag=tag, message=message)))
            accepted: models.Acceptance = await outcome
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self._raise_if_broken()
            raise Unavailable("unreachable", "the stream is broken") from None
        finally:
            self._outcomes.pop(tag, None)
        return accepted

    def __aiter__(self) -> AsyncIterator[models.Message]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[models.Message]:
        """Yield the answers. Each is done with when the next one is asked for."""
        while True:
            delivery = await self._deliveries.get()
            if delivery is None:
                # For whoever else iterates.
                self._deliveries.put_nowait(None)
                self._raise_if_broken()
                return
            number, message = delivery
            yield message
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._write(_Request(done_through=number))

    async def _write(self, request: messages_pb2.MessagesConverseRequest) -> None:
        # gRPC takes one write at a time.
        async with self._writing:
            await self._call.write(request)

    def _raise_if_broken(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _read(self) -> None:
        try:
            # Not by iterating: gRPC lets nobody mix that with single reads.
            while (response := await self._call.read()) is not grpc.aio.EOF:
                match response.WhichOneof("response"):
                    case "outcome":
                        self._settle(response.outcome)
                    case "delivery":
                        delivery = response.delivery
                        message = wire.message(delivery.message)
                        self._deliveries.put_nowait((delivery.number, message))
                    case _:
                        # A newer server may say more.
                        continue
        except grpc.aio.AioRpcError as failure:
            self._failure = error_from_rpc(failure)
        finally:
            broken = self._failure or Unavailable("unreachable", "the stream ended")
            for outcome in self._outcomes.values():
                if not outcome.done():
                    outcome.set_exception(broken)
            self._deliveries.put_nowait(None)

    def _settle(self, told: messages_pb2.ConverseOutcome) -> None:
        outcome = self._outcomes.get(told.tag)
        if outcome is None or outcome.done():
            return
        if told.outcome.WhichOneof("outcome") == "error":
            outcome.set_exception(error_from_detail(told.outcome.error))
        else:
            outcome.set_result(wire.acceptance(told.outcome.acceptance))
