"""Conversations: the messages that share an id, seen as one thing."""

from typing import Final

from pydantic import Field

from caxton_node.api.message_views import StoredMessageView, show_stored
from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, PathParameter, Request, Shape
from caxton_node.api.types import Cursor, Instant, Limit, Query, View, instant
from caxton_node.domain.conversation import Conversation, ConversationStatus
from caxton_node.domain.errors import NotFound
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]

MESSAGES_MAX: Final = 1_000
"""Messages that one conversation shows; `/messages` pages through longer ones."""


CONVERSATION_ID: Final = PathParameter(
    name="conversation_id",
    description="The id that the conversation's messages share.",
    pattern=r"[A-Za-z0-9._:-]{1,512}",
    missing_code="conversation_not_found",
    example="conv-0mfa3k2v9qw7x0a1b-0000000e",
)


class ConversationSummary(View):
    """A conversation in a list."""

    id: str
    participants: list[str] = Field(description="Senders and receivers as they first appeared.")
    message_count: int
    status: ConversationStatus
    created_at: Instant
    last_activity_at: Instant


class ConversationList(View):
    """Part of the list of conversations."""

    items: list[ConversationSummary]
    total: int | None = None
    next_cursor: str | None


class ConversationDetail(ConversationSummary):
    """A conversation with its messages."""

    messages: list[StoredMessageView] = Field(description=f"The last {MESSAGES_MAX}, in order.")
    children: list[str] = Field(description="Conversations in which its agents asked others.")


class ConversationListQuery(Query):
    """Which part of the list."""

    cursor: Cursor | None = None
    limit: Limit = 50


def _summary(conversation: Conversation) -> ConversationSummary:
    return ConversationSummary(
        id=conversation.id,
        participants=list(conversation.participants),
        message_count=conversation.message_count,
        status=conversation.status,
        created_at=instant(conversation.created_at),
        last_activity_at=instant(conversation.last_activity_at),
    )


async def list_conversations(
    request: Request[ConversationListQuery, None], node: Node
) -> ConversationList:
    """List conversations, the most recently active first."""
    page = await node.store.conversations(cursor=request.query.cursor, limit=request.query.limit)
    return ConversationList(
        items=[_summary(conversation) for conversation in page.items],
        next_cursor=page.next_cursor,
    )


async def get_conversation(request: Request[NoQuery, None], node: Node) -> ConversationDetail:
    """Return a conversation with its messages."""
    conversation_id = request.path["conversation_id"]
    conversation = await node.store.conversation(conversation_id)
    if conversation is None:
        raise NotFound("conversation_not_found", f"there is no conversation {conversation_id!r}")
    stored = await node.store.recent_messages(conversation_id, limit=MESSAGES_MAX)
    return ConversationDetail(
        **dict(_summary(conversation)),
        messages=[show_stored(one) for one in stored],
        children=list(await node.store.subconversations(conversation_id)),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/conversations",
        summary="List conversations",
        tag="conversations",
        handle=list_conversations,
        query=ConversationListQuery,
        responses={200: Shape("A page, the most recently active first.", ConversationList)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/conversations/{{conversation_id}}",
        summary="Read a conversation",
        tag="conversations",
        handle=get_conversation,
        belongs_to="holder",
        parameters=(CONVERSATION_ID,),
        responses={200: Shape("The conversation.", ConversationDetail)},
        errors=("conversation_not_found",),
    ),
)
