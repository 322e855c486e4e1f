"""Dead letters: messages that were given up, kept to be looked at, retried or dropped."""

from typing import Final

from pydantic import Field

from caxton_node.api.message_views import StoredMessageList, show_page
from caxton_node.api.messages import MESSAGE_ID, Receipt
from caxton_node.api.table import API_PREFIX, Answer, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import Cursor, Limit, NodeNameText, Query
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import CaxtonError, Conflict
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import message_not_found

__all__ = ["ENDPOINTS"]


class DeadLetterQuery(Query):
    """Which part of the list."""

    node: NodeNameText | None = Field(
        default=None, description="Whose dead letters; without it those of the node that is asked."
    )
    cursor: Cursor | None = None
    limit: Limit = 50


async def list_dead_letters(
    request: Request[DeadLetterQuery, None], node: Node
) -> StoredMessageList:
    """List dead letters, the newest first."""
    page = await node.store.messages(
        status=DeliveryStatus.DEAD, cursor=request.query.cursor, limit=request.query.limit
    )
    return show_page(page)


async def retry_dead_letter(request: Request[NoQuery, None], node: Node) -> Answer:
    """Give a dead letter another try: it takes the way of a message that was just accepted."""
    message_id = request.path["message_id"]
    revived = await node.pipeline.revive(message_id)
    if revived is None:
        raise await _not_dead(node, message_id)
    receipt = Receipt(
        message_id=message_id,
        conversation_id=revived.message.conversation_id,
        status=DeliveryStatus.ACCEPTED,
        routed_to=[revived.message.receiver] if revived.message.receiver else [],
        is_duplicate=False,
    )
    return Answer(receipt, status=202)


async def drop_dead_letter(request: Request[NoQuery, None], node: Node) -> Answer:
    """Forget a dead letter."""
    message_id = request.path["message_id"]
    if not await node.store.drop(message_id):
        raise await _not_dead(node, message_id)
    return Answer(None, status=204)


async def _not_dead(node: Node, message_id: str) -> CaxtonError:
    stored = await node.store.message(message_id)
    if stored is None:
        return message_not_found(message_id)
    return Conflict(
        "state_conflict",
        f"the message {message_id!r} is {stored.status.value}, not dead",
        facts={"status": stored.status.value},
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/dead-letters",
        summary="List dead letters",
        tag="dead letters",
        handle=list_dead_letters,
        belongs_to="named",
        query=DeadLetterQuery,
        responses={200: Shape("A page, the newest first.", StoredMessageList)},
        errors=("node_not_found", "unreachable"),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/dead-letters/{{message_id}}/retry",
        summary="Retry a dead letter",
        tag="dead letters",
        handle=retry_dead_letter,
        belongs_to="holder",
        parameters=(MESSAGE_ID,),
        responses={202: Shape("It is accepted again.", Receipt)},
        errors=(
            "message_not_found",
            "state_conflict",
            "node_busy",
            "storage_unavailable",
        ),
    ),
    Endpoint(
        method="DELETE",
        path=f"{API_PREFIX}/dead-letters/{{message_id}}",
        summary="Drop a dead letter",
        tag="dead letters",
        handle=drop_dead_letter,
        belongs_to="holder",
        parameters=(MESSAGE_ID,),
        responses={204: Shape("It is forgotten.")},
        errors=("message_not_found", "state_conflict", "storage_unavailable"),
    ),
)
