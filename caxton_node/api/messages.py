"""Messages: sent one by one or in batches, read, and traced."""

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
    NodeNameText,
    Party,
    PerformativeField,
    Query,
    ReplyBy,
    View,
)
from caxton_node.domain.capability import CAPABILITY_LENGTH_MAX
from caxton_node.domain.client_input import METADATA_ENTRIES_MAX
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message, encode_content
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import BATCH_MAX, WAIT_S_MAX, Draft, Sent, message_not_found

__all__ = [
    "ENDPOINTS",
    "MESSAGE_ID",
    "SEND_ERRORS",
    "Receipt",
]

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
    metadata: dict[str, Any] | None = Field(default=None, max_length=METADATA_ENTRIES_MAX)

    def to_draft(self, node: Node, traceparent: str) -> Draft:
        """Return the message of the domain."""
        message = Message(
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
        return Draft(message, is_id_chosen=self.id is not None)


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
    node: NodeNameText | None = Field(
        default=None, description="Whose messages; without it those of the node that is asked."
    )
    cursor: Cursor | None = None
    limit: Limit = 50


async def send_message(request: Request[NoQuery, MessageToSend], node: Node) -> Answer:
    """Send one message and, if asked to, wait for its answer."""
    draft = request.body.to_draft(node, request.trace.traceparent)
    sent = await request.edge.sending.send(draft, wait_s=request.body.wait_s)
    receipt = Receipt.model_construct(
        message_id=sent.message.id,
        conversation_id=sent.message.conversation_id,
        status=sent.status,
        routed_to=list(sent.receivers),
        is_duplicate=sent.is_duplicate,
        reply=None if sent.reply is None else show_message(sent.reply),
    )
    is_told = sent.is_duplicate or sent.reply is not None
    return Answer(receipt, status=200 if is_told else 202)


async def send_batch(request: Request[NoQuery, Batch], node: Node) -> BatchOutcome:
    """Send many messages: one journal write, and each refused or accepted on its own."""
    drafts = [one.to_draft(node, request.trace.traceparent) for one in request.body.messages]
    outcomes = await request.edge.sending.send_all(drafts)
    return BatchOutcome.model_construct(
        items=[_item(index, outcome, request) for index, outcome in enumerate(outcomes)]
    )


def _item(index: int, outcome: Sent | CaxtonError, request: Request[Any, Any]) -> BatchItem:
    if isinstance(outcome, CaxtonError):
        document = problem_of(outcome, instance=request.instance, trace_id=request.trace.trace_id)
        error = Problem.model_validate(document)
        return BatchItem.model_construct(
            index=index, message_id=None, status="refused", error=error
        )
    return BatchItem.model_construct(
        index=index,
        message_id=outcome.message.id,
        status="duplicate" if outcome.is_duplicate else "accepted",
        error=None,
    )


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
        belongs_to="named",
        query=MessageListQuery,
        responses={200: Shape("A page.", StoredMessageList)},
        errors=("node_not_found", "unreachable"),
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/messages/{{message_id}}",
        summary="Read a message and what became of it",
        tag="messages",
        handle=get_message,
        belongs_to="holder",
        parameters=(MESSAGE_ID,),
        responses={200: Shape("The message.", StoredMessageView)},
        errors=("message_not_found",),
    ),
)
