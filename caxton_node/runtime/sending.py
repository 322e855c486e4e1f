"""How a client's message is handed in, once, and its answer waited for: the same for every edge.

A client that repeats a request under the same id (after a lost connection, say) gets the outcome
of the first one; nothing is sent again. Another message under an id that was used is refused.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.domain.delivery import DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import (
    CaxtonError,
    Conflict,
    NotFound,
    Place,
    Rejected,
    TimedOut,
    Unavailable,
)
from caxton_node.domain.message import BROADCAST, Message
from caxton_node.domain.performatives import NEGATIVE
from caxton_node.routing.envelope import Envelope
from caxton_node.routing.pipeline import ACCEPT_TIMEOUT_S
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.node import Node
from caxton_node.store.protocol import StoredMessage
from caxton_node.telemetry.message_spans import begin_send

__all__ = [
    "BATCH_MAX",
    "WAIT_S_MAX",
    "Draft",
    "Sending",
    "Sent",
    "check_sender",
    "find_answer",
    "message_not_found",
]

BATCH_MAX: Final = 1_000
"""Messages that may be sent together."""

WAIT_S_MAX: Final = 600.0

ANSWERS_SEARCHED_MAX: Final = 1_000
"""Messages of a conversation in which the answer to a repeated request is looked for."""

SERVER_NAME: Final = "caxton"
"""Who answers where there was no agent to. Nobody else speaks under this name."""

RESERVED_METADATA: Final = frozenset({"depth"})
"""Keys by which the server counts how deep agents ask each other."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that a client wants to send."""

    message: Message
    is_id_chosen: bool
    """The client chose its id, and may have sent it before."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message that was sent."""

    message: Message
    status: DeliveryStatus
    receivers: Sequence[str]
    """Who got it, as far as is known."""
    is_duplicate: bool = False
    """Sent before under this id; nothing was sent now."""
    reply: Message | None = None


class Sending:
    """Hands in what the clients of one node send.

    Args:
        node: Whose pipeline takes it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        # Ids that clients chose and that are being accepted right now, so that two requests at
        # once with one id, on whatever edges, send one message.
        self._under_way: set[str] = set()

    async def send(self, draft: Draft, *, wait_s: float = 0.0) -> Sent:
        """Hand in one message and, if asked to, wait for its answer.

        Waiting that ends without an answer is no error: the answer can be read later.

        Raises:
            CaxtonError: It was not taken: `invalid_message`, `denied`, `agent_not_found`,
                `no_provider`, `already_exists`, `agent_busy`, `node_busy`, `node_draining`,
                `storage_unavailable`, `expired`.
        """
        node, message = self._node, draft.message
        check_sender(node, message.sender)
        check_metadata(message.metadata)
        with ExitStack() as stack:
            answer = None
            if wait_s and expects_answer(message):
                asker = message.reply_to or message.sender
                answer = stack.enter_context(
                    node.answers.expect(asker, message.answers_go_under, message.conversation_id)
                )
            with self._keep_id(message.id if draft.is_id_chosen else None):
                earlier = await self._find_earlier(message) if draft.is_id_chosen else None
                if earlier is None:
                    message, span = begin_send(node.tracing, message)
                    with span:
                        envelope = await node.pipeline.send(message, is_doubtful=draft.is_id_chosen)
            if earlier is None:
                receivers = await self._receivers_of(envelope)
                if answer is None or not receivers or not _has_agent(envelope):
                    return Sent(message, DeliveryStatus.ACCEPTED, receivers)
                reply = await _wait(answer, wait_s)
                return await self._answered(message, receivers, reply)
        return await self._repeated(earlier.message, wait_s)

    async def send_all(self, drafts: Sequence[Draft]) -> list[Sent | CaxtonError]:
        """Hand in many messages: one journal write, each refused or accepted on its own."""
        assert len(drafts) <= BATCH_MAX, "the edges refuse larger batches"
        with ExitStack() as stack:
            # Before the store is asked for them: what another request sends meanwhile is no news.
            under_way = self._keep_ids(drafts, stack)
            earlier = await self._earlier(drafts)
            # Nothing awaits in here, so that their order is kept.
            handed_in = self._hand_in_all(drafts, earlier, under_way)
            outcomes: list[Sent | CaxtonError] = []
            for one in handed_in:
                if not isinstance(one, tuple):
                    outcomes.append(one)
                    continue
                sent, accepted = one
                try:
                    async with asyncio.timeout(ACCEPT_TIMEOUT_S):
                        await accepted
                except CaxtonError as error:
                    outcomes.append(error)
                except TimeoutError:
                    outcomes.append(_unconfirmed())
                else:
                    outcomes.append(sent)
        return outcomes

    def _keep_ids(self, drafts: Sequence[Draft], stack: ExitStack) -> dict[str, Conflict]:
        """Keep the ids of a batch meanwhile; return those that another request keeps."""
        under_way: dict[str, Conflict] = {}
        for message_id in dict.fromkeys(one.message.id for one in drafts if one.is_id_chosen):
            try:
                stack.enter_context(self._keep_id(message_id))
            except Conflict as error:
                under_way[message_id] = error
        return under_way

    async def _earlier(self, drafts: Sequence[Draft]) -> dict[str, Message]:
        earlier = {}
        for one in drafts:
            if one.is_id_chosen and one.message.id not in earlier:
                stored = await self._node.store.message(one.message.id)
                if stored is not None:
                    earlier[one.message.id] = stored.message
        return earlier

    def _hand_in_all(
        self, drafts: Sequence[Draft], earlier: dict[str, Message], under_way: dict[str, Conflict]
    ) -> list[tuple[Sent, asyncio.Future[None]] | Sent | CaxtonError]:
        node = self._node
        outcomes: list[tuple[Sent, asyncio.Future[None]] | Sent | CaxtonError] = []
        taken = dict(earlier)
        for index, draft in enumerate(drafts):
            message = draft.message
            try:
                if message.id in taken:
                    _check_same(taken[message.id], message)
                    node.counts.messages_duplicate += 1
                    outcomes.append(Sent(message, DeliveryStatus.ACCEPTED, (), is_duplicate=True))
                    continue
                _raise_if_any(under_way.get(message.id))
                check_sender(node, message.sender, field=f"messages[{index}].sender")
                check_metadata(message.metadata, field=f"messages[{index}].metadata")
                outcomes.append(self._hand_in(draft))
            except CaxtonError as error:
                outcomes.append(error)
            else:
                taken[message.id] = message
        return outcomes

    def _hand_in(self, draft: Draft) -> tuple[Sent, asyncio.Future[None]]:
        """Submit a message; the future tells when it is on disk, or why it is not."""
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        message, span = begin_send(self._node.tracing, draft.message)

        def on_accepted(error: CaxtonError | None) -> None:
            if span:
                if error is not None:
                    span.fail(error)
                span.end()
            if accepted.done():
                return
            if error is None:
                accepted.set_result(None)
            else:
                accepted.set_exception(error)

        try:
            inbox = self._node.pipeline.submit(
                message, on_accepted, is_doubtful=draft.is_id_chosen
            ).inbox
        except CaxtonError as error:
            span.fail(error)
            span.end()
            raise
        receivers = () if inbox is None else (inbox.agent,)
        return Sent(message, DeliveryStatus.ACCEPTED, receivers), accepted

    async def _answered(
        self, message: Message, receivers: Sequence[str], reply: Message | None
    ) -> Sent:
        stored = await self._node.store.message(message.id)
        unstored = DeliveryStatus.ACCEPTED if reply is None else DeliveryStatus.DELIVERED
        status = unstored if stored is None else stored.status
        return Sent(message, status, receivers, reply=reply)

    async def _repeated(self, message: Message, wait_s: float) -> Sent:
        """Answer a repeated request with what became, or becomes, of the first one."""
        node, asker, under = (
            self._node,
            message.reply_to or message.sender,
            message.answers_go_under,
        )
        with node.answers.expect(asker, under, message.conversation_id) as answer:
            reply = await find_answer(node, message)
            if reply is None and wait_s and expects_answer(message):
                reply = await _wait(answer, wait_s)
        stored = await node.store.message(message.id)
        if stored is None:
            raise message_not_found(message.id)
        receivers = stored.agent.split(",") if stored.agent else ()
        return Sent(message, stored.status, receivers, is_duplicate=True, reply=reply)

    @contextmanager
    def _keep_id(self, message_id: str | None) -> Iterator[None]:
        """Keep an id that a client chose for one request while it is being accepted.

        Raises:
            Conflict: `already_exists`: another request is sending under this id right now.
        """
        if message_id is None:
            yield
            return
        if message_id in self._under_way:
            raise Conflict(
                "already_exists",
                f"a message with the id {message_id!r} is being accepted right now",
                hint="Send it once. Asking for the message by its id tells how it went.",
            )
        self._under_way.add(message_id)
        try:
            yield
        finally:
            self._under_way.discard(message_id)

    async def _find_earlier(self, message: Message) -> StoredMessage | None:
        """Return the message that an earlier request sent under this id, counting this one.

        Raises:
            Conflict: `already_exists`: the earlier one was another message.
        """
        earlier = await self._node.store.message(message.id)
        if earlier is not None:
            _check_same(earlier.message, message)
            self._node.counts.messages_duplicate += 1
        return earlier

    async def _receivers_of(self, envelope: Envelope) -> Sequence[str]:
        """Return who got a message: its agent, the client it answers, or all of a fan-out."""
        message = envelope.message
        if envelope.inbox is not None:
            return (envelope.inbox.agent,)
        if not _is_fan_out(message):
            return (message.receiver,)
        stored = await self._node.store.message(message.id)
        return stored.agent.split(",") if stored is not None and stored.agent else ()


def check_sender(node: Node, sender: str, *, field: str = "sender") -> None:
    """Let a client speak for itself only.

    Raises:
        Rejected: `invalid_message`, when the name is that of an agent, on whatever node it is, or
            of the server.
    """
    if sender == SERVER_NAME:
        raise _unfit(
            f"{sender!r} is the name of the server",
            Place(
                f"`{field}` is the name of the server",
                field=field,
                rule="reserved",
                fix="send under a name of your own, such as `client`",
            ),
        )
    is_agent = node.roster.find(sender) is not None
    if not is_agent and node.cluster is not None:
        is_agent = node.cluster.holder(sender) is not None
    if is_agent:
        raise _unfit(
            f"{sender!r} is an agent; agents speak for themselves",
            Place(
                f"`{field}` is the name of an agent",
                field=field,
                rule="sender_is_agent",
                fix="send under a name of your own, such as `client`",
            ),
        )


def check_metadata(metadata: dict[str, Any] | None, *, field: str = "metadata") -> None:
    """Let metadata pass that a message can carry.

    Raises:
        Rejected: `invalid_message`.
    """
    if not metadata:
        return
    try:
        msgspec.msgpack.encode(metadata)
    except (OverflowError, ValueError, TypeError):
        raise _unfit(
            "the metadata cannot be carried",
            Place(
                f"`{field}` holds a number beyond 64 bits",
                field=field,
                rule="too_large",
                fix="write it as text",
            ),
        ) from None
    reserved = sorted(RESERVED_METADATA & metadata.keys())
    if reserved:
        raise _unfit(
            f"{reserved[0]!r} is a key that only the server sets",
            Place(
                f"`{field}.{reserved[0]}` is set by the server",
                field=f"{field}.{reserved[0]}",
                rule="reserved",
                fix="choose another key",
            ),
        )


def _check_same(earlier: Message, message: Message) -> None:
    """Let a repeated message pass, and no other under its id.

    Raises:
        Conflict: `already_exists`.
    """
    is_same = (
        earlier.performative is message.performative
        and earlier.sender == message.sender
        and earlier.receiver == message.receiver
        and earlier.capability == message.capability
        and earlier.content == message.content
    )
    if not is_same:
        raise Conflict(
            "already_exists",
            f"another message has the id {message.id!r}",
            hint="Repeat a message as it was, and give each one an id of its own.",
        )


def _unfit(detail: str, place: Place) -> Rejected:
    return Rejected("invalid_message", detail, places=[place])


def _unconfirmed() -> Unavailable:
    return Unavailable(
        "storage_unavailable",
        f"the journal did not confirm within {ACCEPT_TIMEOUT_S:g} s",
        hint="The message may have been accepted. Ask for it by its id.",
    )


def _raise_if_any(error: CaxtonError | None) -> None:
    if error is not None:
        raise error


def message_not_found(message_id: str) -> NotFound:
    """Return the error for an id that no message has."""
    return NotFound(
        "message_not_found",
        f"there is no message {message_id!r}",
        hint="Messages sent at_most_once are not kept, and settled ones are forgotten in time.",
    )


def _has_agent(envelope: Envelope) -> bool:
    """Return whether an agent may answer: a client that was handed a reply will not."""
    return envelope.inbox is not None or _is_fan_out(envelope.message)


def _is_fan_out(message: Message) -> bool:
    return message.receiver == BROADCAST or (
        message.capability is not None and message.routing_strategy is RoutingStrategy.BROADCAST
    )


def expects_answer(message: Message) -> bool:
    """Return whether waiting makes sense: a negative act is never answered."""
    return message.performative not in NEGATIVE


async def _wait(answer: asyncio.Future[Message], wait_s: float) -> Message | None:
    try:
        return await answer_within(answer, wait_s)
    except TimedOut:
        return None


async def find_answer(node: Node, question: Message) -> Message | None:
    """Return the answer that a question got already, if any.

    Only who was asked may answer, and the server in its place. Whom a capability or `broadcast`
    chose is not in the question, so that anybody may.
    """
    page = await node.store.messages(
        conversation_id=question.conversation_id, limit=ANSWERS_SEARCHED_MAX
    )
    for stored in page.items:
        if _is_answer(stored.message, question):
            return stored.message
    return None


def _is_answer(answer: Message, question: Message) -> bool:
    is_chosen_later = question.receiver in ("", BROADCAST)
    return (
        answer.in_reply_to == question.answers_go_under
        and answer.receiver == (question.reply_to or question.sender)
        and (is_chosen_later or answer.sender in (question.receiver, SERVER_NAME))
    )
