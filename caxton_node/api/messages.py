"""Messages: sent one by one or in batches, read, and traced."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from caxton_node.api.message_views import (
    MessageView,
    StoredMessageList,
    StoredMessageView,
    show_message,
    show_page,
    show_stored,
)
from caxton_node.api.problems import Problem, problem_of
from caxton_node.api.sending import (
    check_metadata,
    check_sender,
    expects_answer,
    find_answer,
    find_earlier,
    has_agent,
    keep_id,
    receivers_of,
)
from caxton_node.api.table import (
    API_PREFIX,
    DEADLINE_S,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import (
    Body,
    ClientId,
    ConversationIdText,
    Cursor,
    Label,
    Limit,
    Party,
    PerformativeField,
    Query,
    ReplyBy,
    View,
)
from caxton_node.domain.capability import CAPABILITY_LENGTH_MAX
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import CaxtonError, Conflict, NotFound, TimedOut
from caxton_node.domain.message import Message, encode_content
from caxton_node.routing.pipeline import ACCEPT_TIMEOUT_S
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.node import Node

__all__ = [
    "ENDPOINTS",
    "MESSAGE_ID",
    "SEND_ERRORS",
    "Receipt",
    "message_not_found",
]

BATCH_MAX: Final = 1_000
WAIT_S_MAX: Final = 600.0

SEND_ERRORS: Final = (
    "invalid_message",
    "denied",
    "agent_not_found",
    "no_provider",
    "already_exists",
    "agent_busy",
    "node_busy",
    "storage_unavailable",
    "expired",
)
"""What can become of an attempt to send."""

MESSAGE_ID: Final = PathParameter(
    name="message_id",
    description="The id that the message was accepted under.",
    pattern=r"[A-Za-z0-9._:#~-]{1,512}",
    missing_code="message_not_found",
    example="msg-0mfa3k2v9qw7x0a1b-0000000f",
    reserved=("batch",),
)

_CAPABILITY: Final = (
    r"^[a-z][a-z0-9]*(-[a-z0-9]+)*(\.[a-z][a-z0-9]*(-[a-z0-9]+)*)*(:v[0-9]+(\.[0-9]+)*)?$"
)

_ONE_DESTINATION: Final[JsonDict] = {
    "oneOf": [
        {
            "required": ["receiver"],
            "properties": {"receiver": {"type": "string"}, "capability": {"type": "null"}},
        },
        {
            "required": ["capability"],
            "properties": {"capability": {"type": "string"}, "receiver": {"type": "null"}},
        },
    ]
}


class OutgoingMessage(Body):
    """A message to send. Name either `receiver` or `capability`."""

    model_config = ConfigDict(json_schema_extra=_ONE_DESTINATION)

    performative: PerformativeField
    sender: Party = Field(default="client", description="Who speaks. Never an agent's name.")
    receiver: Party | None = Field(
        default=None, description="An agent, `broadcast`, or the client that an answer is for."
    )
    capability: (
        Annotated[str, Field(max_length=CAPABILITY_LENGTH_MAX, pattern=_CAPABILITY)] | None
    ) = Field(default=None, description="What the receiver must be able to do.")
    content: Any = Field(default=None, description="Any JSON value, up to 1 MB.")
    id: ClientId | None = Field(
        default=None, description="Sending twice under one id sends once. Made when absent."
    )
    conversation_id: ClientId | None = Field(default=None, description="Made when absent.")
    reply_with: ClientId | None = Field(
        default=None, description="What the answer carries as `in_reply_to`, instead of the id."
    )
    in_reply_to: ClientId | None = Field(
        default=None, description="The `reply_with`, or else the id, of what this answers."
    )
    protocol: Label | None = None
    reply_by: ReplyBy | None = Field(
        default=None, description="After this instant an answer is of no use."
    )
    language: Label | None = None
    ontology: Label | None = None
    routing_strategy: RoutingStrategy = Field(default=RoutingStrategy.BEST_MATCH, strict=False)
    delivery: DeliveryMode = Field(default=DeliveryMode.AT_LEAST_ONCE, strict=False)
    reply_to: Party | None = Field(default=None, description="Who gets the answer instead.")
    encoding: Label | None = None
    metadata: dict[str, Any] | None = Field(default=None, max_length=64)

    def to_message(self, node: Node, traceparent: str) -> Message:
        """Return the message of the domain."""
        return Message(
            id=self.id or node.new_id("msg"),
            performative=self.performative,
            sender=self.sender,
            receiver=self.receiver or "",
            content=encode_content(self.content),
            conversation_id=self.conversation_id or node.new_id("conv"),
            reply_with=self.reply_with,
            in_reply_to=self.in_reply_to,
            protocol=self.protocol,
            reply_by=self.reply_by,
            language=self.language,
            ontology=self.ontology,
            capability=self.capability,
            routing_strategy=self.routing_strategy,
            delivery=self.delivery,
            created_at=node.clock.now_ms(),
            traceparent=traceparent,
            metadata=self.metadata,
            reply_to=self.reply_to,
            encoding=self.encoding,
        )


class MessageToSend(OutgoingMessage):
    """A message to send, and how long to wait for its answer."""

    wait_s: float = Field(
        default=0.0, ge=0.0, le=WAIT_S_MAX, description="Seconds to hold the request for an answer."
    )


class Receipt(View):
    """What became of a message that was sent."""

    message_id: str
    conversation_id: str
    status: DeliveryStatus
    routed_to: list[str]
    is_duplicate: bool = Field(description="Sent before under this id; nothing was sent now.")
    reply: MessageView | None = Field(default=None, description="When it came while waiting.")


class Batch(Body):
    """Messages to send in this order."""

    messages: list[OutgoingMessage] = Field(min_length=1, max_length=BATCH_MAX)


class BatchItem(View):
    """What became of one message of a batch."""

    index: int
    message_id: str | None
    status: str = Field(description="`accepted`, `duplicate` or `refused`.")
    error: Problem | None = None


class BatchOutcome(View):
    """What became of a batch, message by message."""

    items: list[BatchItem]


class MessageListQuery(Query):
    """Which messages."""

    conversation_id: ConversationIdText | None = None
    status: DeliveryStatus | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


def message_not_found(message_id: str) -> NotFound:
    """Return the error for an id that no message has."""
    return NotFound(
        "message_not_found",
        f"there is no message {message_id!r}",
        hint="Messages sent at_most_once are not kept, and settled ones are forgotten in time.",
    )


async def send_message(request: Request[NoQuery, MessageToSend], node: Node) -> Answer:
    """Send one message and, if asked to, wait for its answer."""
    body = request.body
    check_sender(node, body.sender)
    check_metadata(body.metadata)
    message = body.to_message(node, request.trace.traceparent)
    with ExitStack() as stack:
        answer = None
        if body.wait_s and expects_answer(message):
            asker = message.reply_to or message.sender
            answer = stack.enter_context(
                node.answers.expect(asker, message.answers_go_under, message.conversation_id)
            )
        with keep_id(request.edge, body.id):
            earlier = None if body.id is None else await find_earlier(node, body.id)
            if earlier is None:
                envelope = await node.pipeline.send(message)
        if earlier is None:
            receivers = await receivers_of(node, envelope)
            if answer is None or not receivers or not has_agent(envelope):
                return _accepted(message, receivers)
            reply = await _wait(answer, body.wait_s)
            return await _receipt(node, message, receivers, reply)
    return await _repeat(node, earlier.message, body.wait_s)


def _accepted(message: Message, receivers: list[str]) -> Answer:
    receipt = Receipt.model_construct(
        message_id=message.id,
        conversation_id=message.conversation_id,
        status=DeliveryStatus.ACCEPTED,
        routed_to=receivers,
        is_duplicate=False,
        reply=None,
    )
    return Answer(receipt, status=202)


async def _wait(answer: asyncio.Future[Message], wait_s: float) -> Message | None:
    try:
        return await answer_within(answer, wait_s)
    except TimedOut:
        return None


async def _receipt(
    node: Node, message: Message, receivers: list[str], reply: Message | None
) -> Answer:
    stored = await node.store.message(message.id)
    unstored = DeliveryStatus.ACCEPTED if reply is None else DeliveryStatus.DELIVERED
    receipt = Receipt(
        message_id=message.id,
        conversation_id=message.conversation_id,
        status=unstored if stored is None else stored.status,
        routed_to=receivers,
        is_duplicate=False,
        reply=None if reply is None else show_message(reply),
    )
    return Answer(receipt, status=202 if reply is None else 200)


async def _repeat(node: Node, message: Message, wait_s: float) -> Answer:
    """Answer a repeated request with what became, or becomes, of the first one."""
    asker = message.reply_to or message.sender
    under = message.answers_go_under
    with node.answers.expect(asker, under, message.conversation_id) as answer:
        reply = await find_answer(node, message)
        if reply is None and wait_s and expects_answer(message):
            reply = await _wait(answer, wait_s)
    stored = await node.store.message(message.id)
    if stored is None:
        raise message_not_found(message.id)
    receipt = Receipt(
        message_id=message.id,
        conversation_id=message.conversation_id,
        status=stored.status,
        routed_to=stored.agent.split(",") if stored.agent else [],
        is_duplicate=True,
        reply=None if reply is None else show_message(reply),
    )
    return Answer(receipt)


async def send_batch(request: Request[NoQuery, Batch], node: Node) -> BatchOutcome:
    """Send many messages: one journal write, and each refused or accepted on its own."""
    with ExitStack() as stack:
        # Before the store is asked for them: what another request sends meanwhile is no news then.
        under_way = _keep_ids(request, stack)
        outcomes = _hand_in_all(request, node, await _earlier_ids(request.body, node), under_way)
        items = []
        for index, (message_id, outcome) in enumerate(outcomes):
            if isinstance(outcome, BatchItem):
                items.append(outcome)
                continue
            try:
                async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                    await outcome
                items.append(_item(index, message_id, "accepted"))
            except CaxtonError as error:
                items.append(_item(index, None, "refused", _as_problem(error, request)))
    return BatchOutcome.model_construct(items=items)


def _keep_ids(request: Request[NoQuery, Batch], stack: ExitStack) -> dict[str, Conflict]:
    """Keep the ids of a batch while it is being accepted; return those that another one keeps."""
    under_way: dict[str, Conflict] = {}
    for message_id in dict.fromkeys(one.id for one in request.body.messages):
        if message_id is not None:
            try:
                stack.enter_context(keep_id(request.edge, message_id))
            except Conflict as error:
                under_way[message_id] = error
    return under_way


def _hand_in_all(
    request: Request[NoQuery, Batch],
    node: Node,
    earlier_ids: set[str],
    under_way: Mapping[str, Conflict],
) -> list[tuple[str, BatchItem | asyncio.Future[None]]]:
    """Submit the messages of a batch. Nothing awaits here, so that their order is kept."""
    outcomes: list[tuple[str, BatchItem | asyncio.Future[None]]] = []
    taken: set[str] = set()
    for index, one in enumerate(request.body.messages):
        message = one.to_message(node, request.trace.traceparent)
        if message.id in earlier_ids or message.id in taken:
            node.counts.messages_duplicate += 1
            outcomes.append((message.id, _item(index, message.id, "duplicate")))
            continue
        try:
            if message.id in under_way:
                raise under_way[message.id]
            check_sender(node, one.sender, field=f"messages[{index}].sender")
            check_metadata(one.metadata, field=f"messages[{index}].metadata")
            accepted = _hand_in(node, message)
        except CaxtonError as error:
            refused = _item(index, None, "refused", _as_problem(error, request))
            outcomes.append((message.id, refused))
            continue
        taken.add(message.id)
        outcomes.append((message.id, accepted))
    return outcomes


async def _earlier_ids(batch: Batch, node: Node) -> set[str]:
    earlier = set()
    for one in batch.messages:
        if one.id is not None and await node.store.message(one.id) is not None:
            earlier.add(one.id)
    return earlier


def _hand_in(node: Node, message: Message) -> asyncio.Future[None]:
    """Submit a message; the future tells when it is on disk, or why it is not."""
    accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_accepted(error: CaxtonError | None) -> None:
        if accepted.done():
            return
        if error is None:
            accepted.set_result(None)
        else:
            accepted.set_exception(error)

    node.pipeline.submit(message, on_accepted)
    return accepted


def _item(
    index: int, message_id: str | None, status: str, error: Problem | None = None
) -> BatchItem:
    return BatchItem.model_construct(index=index, message_id=message_id, status=status, error=error)


def _as_problem(error: CaxtonError, request: Request[Any, Any]) -> Problem:
    document = problem_of(error, instance=request.instance, trace_id=request.trace.trace_id)
    return Problem.model_validate(document)


async def list_messages(request: Request[MessageListQuery, None], node: Node) -> StoredMessageList:
    """List messages: of one conversation in order, otherwise the newest first."""
    query = request.query
    page = await node.store.messages(
        conversation_id=query.conversation_id,
        status=query.status,
        cursor=query.cursor,
        limit=query.limit,
    )
    return show_page(page)


async def get_message(request: Request[NoQuery, None], node: Node) -> StoredMessageView:
    """Return one message."""
    message_id = request.path["message_id"]
    stored = await node.store.message(message_id)
    if stored is None:
        raise message_not_found(message_id)
    return show_stored(stored)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/messages",
        summary="Send a message",
        tag="messages",
        handle=send_message,
        description="Answers once the message is on disk. With `wait_s`, holds on until the "
        "answer is there. The same `id` again sends nothing and tells what became of the first.",
        body=MessageToSend,
        responses={
            200: Shape("The answer came, or the message was sent before.", Receipt),
            202: Shape("The message is accepted.", Receipt),
        },
        errors=SEND_ERRORS,
        deadline_s=WAIT_S_MAX + DEADLINE_S,
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/messages/batch",
        summary="Send many messages in order",
        tag="messages",
        handle=send_batch,
        body=Batch,
        responses={200: Shape("What became of each.", BatchOutcome)},
        errors=("storage_unavailable",),
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/messages",
        summary="List messages",
        tag="messages",
        handle=list_messages,
        query=MessageListQuery,
        responses={200: Shape("A page.", StoredMessageList)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/messages/{{message_id}}",
        summary="Read a message and what became of it",
        tag="messages",
        handle=get_message,
        parameters=(MESSAGE_ID,),
        responses={200: Shape("The message.", StoredMessageView)},
        errors=("message_not_found",),
    ),
)
