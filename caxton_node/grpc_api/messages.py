# ruff: noqa: N802 -- methods are called as the contract calls them
"""`caxton.v1.Messages`: sending, reading and following messages."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc

from caxton.v1 import messages_pb2
from caxton.v1.messages_pb2_grpc import MessagesServicer
from caxton_node.domain.errors import CaxtonError, Place, Rejected
from caxton_node.grpc_api.asking import Asking, page_query
from caxton_node.grpc_api.converse import converse
from caxton_node.grpc_api.failures import detail_of
from caxton_node.grpc_api.shell import trace_in_force
from caxton_node.grpc_api.stream import follow_messages
from caxton_node.grpc_api.wire import (
    STATUSES,
    draft_of,
    duration_s,
    show_acceptance,
    show_duration,
    show_instant,
    show_message,
    show_record,
    wire_timestamp,
)
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import BATCH_MAX, WAIT_S_MAX, Draft, Sending, Sent

__all__ = ["Messages"]

_Context = grpc.aio.ServicerContext[Any, Any]

_OUTCOME: Final = messages_pb2.SendOutcome


class Messages(MessagesServicer):
    """The service.

    Args:
        node: Whose clients these are.
        sending: Shared by all edges of the node.
        asking: For what REST answers too.
    """

    def __init__(self, node: Node, sending: Sending, asking: Asking) -> None:
        self._node = node
        self._sending = sending
        self._asking = asking

    def _draft(self, wire: messages_pb2.Message, **more: str) -> Draft:
        node = self._node
        return draft_of(
            wire,
            new_id=node.new_id,
            now_ms=node.clock.now_ms(),
            traceparent=trace_in_force().traceparent,
            **more,
        )

    async def Send(
        self, request: messages_pb2.MessagesSendRequest, _: _Context
    ) -> messages_pb2.MessagesSendResponse:
        """Hand in one message and, if asked to, wait for its answer."""
        wait_s = 0.0
        if request.HasField("wait"):
            wait_s = duration_s(request.wait, field="wait", maximum_s=WAIT_S_MAX)
        sent = await self._sending.send(self._draft(request.message), wait_s=wait_s)
        return messages_pb2.MessagesSendResponse(
            acceptance=show_acceptance(sent),
            reply=None if sent.reply is None else show_message(sent.reply),
        )

    async def SendBatch(
        self, request: messages_pb2.MessagesSendBatchRequest, _: _Context
    ) -> messages_pb2.MessagesSendBatchResponse:
        """Hand in many messages, each accepted or refused on its own."""
        if not 1 <= len(request.messages) <= BATCH_MAX:
            raise Rejected(
                "invalid_request",
                "the request breaks a rule",
                places=[
                    Place(
                        f"`messages` has 1 to {BATCH_MAX} items", field="messages", rule="too_long"
                    )
                ],
            )
        drafts = [
            self._draft(one, within=f"messages[{index}].")
            for index, one in enumerate(request.messages)
        ]
        outcomes = await self._sending.send_all(drafts)
        return messages_pb2.MessagesSendBatchResponse(outcomes=map(show_outcome, outcomes))

    async def Get(
        self, request: messages_pb2.MessagesGetRequest, _: _Context
    ) -> messages_pb2.MessagesGetResponse:
        """Return one message and what became of it, from whatever node knows it."""
        view = await self._asking.get(f"/messages/{_id(request.message_id)}")
        return messages_pb2.MessagesGetResponse(record=show_record(view))

    async def List(
        self, request: messages_pb2.MessagesListRequest, _: _Context
    ) -> messages_pb2.MessagesListResponse:
        """List messages that this node knows."""
        query = page_query(request.page_size, request.page_token)
        if request.conversation_id:
            query["conversation_id"] = request.conversation_id
        if request.status:
            query["status"] = STATUSES.word(request.status) or str(request.status)
        view = await self._asking.get("/messages", query)
        return messages_pb2.MessagesListResponse(
            records=map(show_record, view["items"]), next_page_token=view["next_cursor"] or ""
        )

    async def ListConversations(
        self, request: messages_pb2.MessagesListConversationsRequest, _: _Context
    ) -> messages_pb2.MessagesListConversationsResponse:
        """List conversations that this node knows."""
        query = page_query(request.page_size, request.page_token)
        view = await self._asking.get("/conversations", query)
        return messages_pb2.MessagesListConversationsResponse(
            conversations=map(_conversation, view["items"]),
            next_page_token=view["next_cursor"] or "",
        )

    async def GetConversation(
        self, request: messages_pb2.MessagesGetConversationRequest, _: _Context
    ) -> messages_pb2.MessagesGetConversationResponse:
        """Return one conversation with its last messages, from whatever node knows it."""
        view = await self._asking.get(f"/conversations/{_id(request.conversation_id)}")
        return messages_pb2.MessagesGetConversationResponse(
            conversation=_conversation(view),
            records=map(show_record, view["messages"]),
            children=view["children"],
        )

    async def Trace(
        self, request: messages_pb2.MessagesTraceRequest, _: _Context
    ) -> messages_pb2.MessagesTraceResponse:
        """Return the path of one message."""
        message_id = _id(request.message_id)
        message = (await self._asking.get(f"/messages/{message_id}"))["message"]
        view = await self._asking.get(f"/messages/{message_id}/trace")
        steps = [
            messages_pb2.TraceStep(
                message_id=message_id,
                kind=hop["event"],
                node=hop.get("node") or "",
                agent=hop["who"],
                started_at=show_instant(hop["at"]),
                duration=show_duration(hop["duration_ms"]),
                detail=hop["detail"] or "",
            )
            for hop in view["hops"]
        ]
        trace_id = (message["traceparent"] or "--").split("-")[1]
        return messages_pb2.MessagesTraceResponse(trace_id=trace_id, steps=steps)

    async def Stream(
        self, request: messages_pb2.MessagesStreamRequest, _: _Context
    ) -> AsyncIterator[messages_pb2.MessagesStreamResponse]:
        """Follow the messages that pass a filter."""
        async for event in follow_messages(self._node, request.filter):
            yield event

    async def Converse(  # type: ignore[override]  # the stubs know no coroutine that writes
        self,
        request_iterator: AsyncIterator[messages_pb2.MessagesConverseRequest],
        context: _Context,
    ) -> None:
        """Talk as a client of its own."""

        def draft(wire: messages_pb2.Message, sender: str) -> Draft:
            return self._draft(wire, sender=sender)

        await converse(self._node, self._sending, draft, request_iterator, context.write)

    async def ListDeadLetters(
        self, request: messages_pb2.MessagesListDeadLettersRequest, _: _Context
    ) -> messages_pb2.MessagesListDeadLettersResponse:
        """List the messages that this node gave up."""
        query = page_query(request.page_size, request.page_token)
        view = await self._asking.get("/dead-letters", query)
        return messages_pb2.MessagesListDeadLettersResponse(
            records=map(show_record, view["items"]),
            next_page_token=view["next_cursor"] or "",
            total=view["total"] or 0,
        )

    async def RetryDeadLetter(
        self, request: messages_pb2.MessagesRetryDeadLetterRequest, _: _Context
    ) -> messages_pb2.MessagesRetryDeadLetterResponse:
        """Give a dead letter another try."""
        receipt = await self._asking.post(f"/dead-letters/{_id(request.message_id)}/retry")
        return messages_pb2.MessagesRetryDeadLetterResponse(
            acceptance=messages_pb2.Acceptance(
                message_id=receipt["message_id"],
                conversation_id=receipt["conversation_id"],
                routed_to=receipt["routed_to"],
                status=STATUSES.number(receipt["status"]),
                accepted_at=wire_timestamp(self._node.clock.now_ms()),
            )
        )

    async def DropDeadLetter(
        self, request: messages_pb2.MessagesDropDeadLetterRequest, _: _Context
    ) -> messages_pb2.MessagesDropDeadLetterResponse:
        """Forget a dead letter."""
        await self._asking.delete(f"/dead-letters/{_id(request.message_id)}")
        return messages_pb2.MessagesDropDeadLetterResponse()


def show_outcome(outcome: Sent | CaxtonError) -> messages_pb2.SendOutcome:
    """Return what became of one of several messages, for the wire."""
    if isinstance(outcome, Sent):
        return _OUTCOME(acceptance=show_acceptance(outcome))
    return _OUTCOME(error=detail_of(outcome, trace_id=trace_in_force().trace_id))


def _conversation(view: Mapping[str, Any]) -> messages_pb2.Conversation:
    return messages_pb2.Conversation(
        id=view["id"],
        participants=view["participants"],
        message_count=view["message_count"],
        status=view["status"],
        created_at=show_instant(view["created_at"]),
        last_activity_at=show_instant(view["last_activity_at"]),
    )


def _id(text: str) -> str:
    # What is no id is no part of an address either: "a/b" would be another one.
    return text if text and "/" not in text else "~"
