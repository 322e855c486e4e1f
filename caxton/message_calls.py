"""What a client does with messages: sends them, waits for answers, follows and reads them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Unpack

from caxton import models, wire
from caxton.connection import GRACE_S, Connection
from caxton.errors import CaxtonError, TimedOut, error_from_detail
from caxton.outgoing import MessageOptions, outgoing
from caxton.talk import Talk
from caxton.v1 import messages_pb2
from caxton.v1.messages_pb2_grpc import MessagesStub

__all__ = ["MessageCalls"]


class MessageCalls:
    """The calls of a client that concern messages."""

    _connection: Connection

    async def send(
        self,
        receiver: str | None = None,
        content: Any = None,
        *,
        capability: str | None = None,
        performative: str = "inform",
        wait_s: float | None = None,
        message_id: str | None = None,
        **more: Unpack[MessageOptions],
    ) -> models.Acceptance:
        """Hand a message to the server.

        The message gets an id here, so that a repeat after a broken connection is known as one:
        the message is sent once, whatever happens to the connection.

        Args:
            receiver: An agent, or `broadcast`; or name a `capability` instead.
            content: Any JSON value.
            capability: What the receiver must be able to do.
            performative: Of FIPA, in any case and hyphenation.
            wait_s: How long to wait for the answer; None returns on acceptance. Waiting that
                ends without an answer is no error: `reply` is None then.
            message_id: To send under; made when None.
            **more: See `MessageOptions`.

        Raises:
            CaxtonError: It was not taken: `agent_not_found`, `no_provider`, `agent_busy`, …
            ValueError: A word or an instant is wrong.
            TypeError: The content has no JSON form.
        """
        message = outgoing(
            {
                "receiver": receiver,
                "content": content,
                "capability": capability,
                "performative": performative,
                "message_id": message_id,
                **more,
            }
        )
        request = messages_pb2.MessagesSendRequest(message=message)
        timeout_s = None
        if wait_s is not None:
            request.wait.CopyFrom(wire.duration(wait_s))
            timeout_s = wait_s + GRACE_S
        answer = await self._connection.call(
            lambda to: MessagesStub(to).Send, request, is_repeatable=True, timeout_s=timeout_s
        )
        reply = answer.reply if answer.HasField("reply") else None
        return wire.acceptance(answer.acceptance, reply)

    async def request(
        self,
        receiver: str | None = None,
        content: Any = None,
        *,
        capability: str | None = None,
        performative: str = "request",
        timeout_s: float = 30.0,
        **more: Unpack[MessageOptions],
    ) -> models.Message:
        """Send a message and return its answer, which may be a negative one.

        Args:
            receiver: An agent; or name a `capability` instead.
            content: Any JSON value.
            capability: What the receiver must be able to do.
            performative: An act that asks for an answer.
            timeout_s: For the answer.
            **more: See `MessageOptions`.

        Raises:
            TimedOut: `timed_out`, with the ids under which the answer can be found later.
            CaxtonError: It was not taken.
        """
        sent = await self.send(
            receiver,
            content,
            capability=capability,
            performative=performative,
            wait_s=timeout_s,
            **more,
        )
        if sent.reply is None:
            raise TimedOut(
                "timed_out",
                f"no answer within {timeout_s:g} s",
                hint="The message stays in its conversation; its answer can be read there later.",
                facts={"message_id": sent.message_id, "conversation_id": sent.conversation_id},
            )
        return sent.reply

    async def send_all(
        self, messages: Sequence[Mapping[str, Any]]
    ) -> list[models.Acceptance | CaxtonError]:
        """Hand many messages over together; each is accepted or refused on its own.

        Args:
            messages: The arguments of `send` by name, `wait_s` left out; 1,000 at most.

        Returns:
            One outcome a message, in order.

        Raises:
            CaxtonError: The call failed. All ids are made here, so that a repeat sends none twice.
        """
        request = messages_pb2.MessagesSendBatchRequest(
            messages=[outgoing(one) for one in messages]
        )
        answer = await self._connection.call(
            lambda to: MessagesStub(to).SendBatch, request, is_repeatable=True
        )
        return [
            error_from_detail(one.error)
            if one.WhichOneof("outcome") == "error"
            else wire.acceptance(one.acceptance)
            for one in answer.outcomes
        ]

    def talk(self, name: str | None = None, *, window: int = 64) -> Talk:
        """Return a stream to send and be answered on: `async with client.talk() as talk`.

        Args:
            name: To be reached under; the server makes one when None.
            window: Answers that may wait here unread, 1 to 1,000.
        """
        return Talk(self._connection, name or "", window)

    async def subscribe(
        self,
        *,
        agents: Sequence[str] = (),
        conversation_ids: Sequence[str] = (),
        performatives: Sequence[str] = (),
        statuses: Sequence[str] = (),
        capabilities: Sequence[str] = (),
    ) -> AsyncGenerator[models.Record | models.Missed]:
        """Yield the messages of the answering node that pass a filter, from now on.

        Conditions that are given must all hold; one holds when any of its values does.

        Args:
            agents: Senders or receivers.
            conversation_ids: Conversations.
            performatives: Acts.
            statuses: Statuses that a message enters.
            capabilities: Capabilities asked for, their particulars included.
        """
        request = messages_pb2.MessagesStreamRequest(
            filter=messages_pb2.MessageFilter(
                agents=agents,
                conversation_ids=conversation_ids,
                performatives=map(wire.ACTS.number, performatives),
                statuses=map(wire.STATUSES.number, statuses),
                capabilities=capabilities,
            )
        )
        stream = self._connection.stream(lambda to: MessagesStub(to).Stream, request)
        async with aclosing(stream) as answers:
            async for answer in answers:
                if answer.WhichOneof("event") == "record":
                    yield wire.record(answer.record)
                else:
                    yield models.Missed(answer.missed_count)

    async def message(self, message_id: str) -> models.Record:
        """Return one message and what became of it.

        Raises:
            NotFound: `message_not_found`.
        """
        request = messages_pb2.MessagesGetRequest(message_id=message_id)
        answer = await self._connection.read(lambda to: MessagesStub(to).Get, request)
        return wire.record(answer.record)

    async def trace(self, message_id: str) -> list[models.TraceStep]:
        """Return the path of one message, in order of time."""
        request = messages_pb2.MessagesTraceRequest(message_id=message_id)
        answer = await self._connection.read(lambda to: MessagesStub(to).Trace, request)
        return [*map(wire.trace_step, answer.steps)]

    async def conversations(self, *, limit: int = 50) -> list[models.Conversation]:
        """Return the conversations that the answering node knows, the latest first.

        Args:
            limit: How many at most, 1 to 200.
        """
        request = messages_pb2.MessagesListConversationsRequest(page_size=limit)
        answer = await self._connection.read(lambda to: MessagesStub(to).ListConversations, request)
        return [*map(wire.conversation, answer.conversations)]

    async def conversation(self, conversation_id: str) -> models.ConversationDetail:
        """Return one conversation with its last messages.

        Raises:
            NotFound: `conversation_not_found`.
        """
        request = messages_pb2.MessagesGetConversationRequest(conversation_id=conversation_id)
        answer = await self._connection.read(lambda to: MessagesStub(to).GetConversation, request)
        return wire.conversation_detail(answer)

    async def dead_letters(self, *, limit: int = 50) -> list[models.Record]:
        """Return messages that the answering node gave up, the newest first.

        Args:
            limit: How many at most, 1 to 200.
        """
        request = messages_pb2.MessagesListDeadLettersRequest(page_size=limit)
        answer = await self._connection.read(lambda to: MessagesStub(to).ListDeadLetters, request)
        return [*map(wire.record, answer.records)]

    async def retry_dead_letter(self, message_id: str) -> models.Acceptance:
        """Give a dead letter another try."""
        request = messages_pb2.MessagesRetryDeadLetterRequest(message_id=message_id)
        answer = await self._connection.call(lambda to: MessagesStub(to).RetryDeadLetter, request)
        return wire.acceptance(answer.acceptance)

    async def drop_dead_letter(self, message_id: str) -> None:
        """Delete a dead letter for good."""
        request = messages_pb2.MessagesDropDeadLetterRequest(message_id=message_id)
        await self._connection.call(lambda to: MessagesStub(to).DropDeadLetter, request)
