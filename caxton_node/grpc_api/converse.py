"""The bidirectional stream: a client that sends and is answered on one connection.

What comes quickly is handed in together, in order, with one write to the journal. The client's
flow control is gRPC's own for what it sends, and a window of its choice for what it gets.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Never

from caxton.v1 import messages_pb2
from caxton_node.domain.errors import CaxtonError, Place, Rejected
from caxton_node.domain.message import Message
from caxton_node.grpc_api.failures import detail_of
from caxton_node.grpc_api.shell import trace_in_force
from caxton_node.grpc_api.wire import show_acceptance, show_message
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import Draft, Sending, Sent, check_sender

__all__ = ["WINDOW_DEFAULT", "WINDOW_MAX", "converse"]

WINDOW_DEFAULT: Final = 64
WINDOW_MAX: Final = 1_000

WAITING_MAX: Final = 256
"""Messages read from the stream and not handed in yet; reading stops meanwhile."""

OPEN_S: Final = 10.0
"""The client says who it is within this time."""

NAME_LENGTH_MAX: Final = 128

_Request = messages_pb2.MessagesConverseRequest
_Response = messages_pb2.MessagesConverseResponse
_Write = Callable[[_Response], Awaitable[None]]
_MakeDraft = Callable[[messages_pb2.Message, str], Draft]


class _Ended(Exception):
    """The client has said all it had to say."""


async def converse(
    node: Node,
    sending: Sending,
    make_draft: _MakeDraft,
    requests: AsyncIterator[_Request],
    write: _Write,
) -> None:
    """Serve one stream until the client has nothing more to say.

    Args:
        node: That is talked to.
        sending: Shared by all edges of the node.
        make_draft: Reads a message, with the name of who speaks.
        requests: What the client says.
        write: Tells the client something.

    Raises:
        CaxtonError: The client broke the rules of the stream.
    """
    opening = await _first(requests)
    name = opening.name or node.new_id("client")
    check_sender(node, name, field="open.name")
    talk = _Talk(sending, make_draft, name, opening.window or WINDOW_DEFAULT)
    with node.answers.listen(name, talk.offer):
        await write(_Response(opened=messages_pb2.ConverseOpened(name=name)))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(talk.tell(write))
                tasks.create_task(talk.hand_in())
                tasks.create_task(talk.listen(requests))
        except* _Ended:
            pass
        except* CaxtonError as problems:
            raise _first_of(problems) from None


async def _first(requests: AsyncIterator[_Request]) -> messages_pb2.ConverseOpen:
    try:
        async with asyncio.timeout(OPEN_S):
            first = await anext(requests, None)
    except TimeoutError:
        first = None
    if first is None or not first.HasField("open"):
        raise _misspoken("the first request of the stream is `open`", "open")
    opening = first.open
    if len(opening.name) > NAME_LENGTH_MAX or not opening.name.isprintable():
        raise _misspoken(f"`open.name` has at most {NAME_LENGTH_MAX} characters", "open.name")
    if opening.window > WINDOW_MAX:
        raise _misspoken(f"`open.window` is 0 to {WINDOW_MAX}", "open.window")
    return opening


def _misspoken(text: str, field: str) -> Rejected:
    return Rejected(
        "invalid_request",
        "the stream breaks a rule",
        places=[Place(text, field=field, rule="converse")],
    )


def _first_of(problems: BaseExceptionGroup[CaxtonError]) -> CaxtonError:
    first: BaseException = problems
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, CaxtonError), "nothing else was caught"
    return first


class _Talk:
    """The state of one stream."""

    def __init__(self, sending: Sending, make_draft: _MakeDraft, name: str, window: int) -> None:
        self._sending = sending
        self._make_draft = make_draft
        self._name = name
        self._window = window
        self._delivered_count = 0
        self._done_count = 0
        # Bounded by the window for deliveries, and by WAITING_MAX for outcomes: `_room`.
        self._outgoing: asyncio.Queue[_Response] = asyncio.Queue(window + WAITING_MAX)
        self._waiting: asyncio.Queue[messages_pb2.ConverseSend | None] = asyncio.Queue(WAITING_MAX)
        self._room = asyncio.Semaphore(WAITING_MAX)

    def offer(self, message: Message) -> bool:
        """Take an answer for the client; False when its window is full."""
        if self._delivered_count - self._done_count >= self._window:
            return False
        self._delivered_count += 1
        delivery = messages_pb2.ConverseDelivery(
            number=self._delivered_count, message=show_message(message)
        )
        self._outgoing.put_nowait(_Response(delivery=delivery))
        return True

    async def listen(self, requests: AsyncIterator[_Request]) -> None:
        """Read what the client says until it stops."""
        async for request in requests:
            match request.WhichOneof("request"):
                case "send":
                    # An outcome has its place before its message is taken.
                    await self._room.acquire()
                    await self._waiting.put(request.send)
                case "done_through":
                    if request.done_through > self._delivered_count:
                        raise _misspoken("`done_through` is of the future", "done_through")
                    self._done_count = max(self._done_count, request.done_through)
                case "open":
                    raise _misspoken("`open` comes once", "open")
                case _:
                    raise _misspoken("a request says one of three things", "request")
        await self._waiting.put(None)

    async def hand_in(self) -> None:
        """Hand in what the client sends, together where it comes quickly."""
        is_over = False
        while not is_over:
            taken = [await self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            is_over = None in taken
            await self._hand_in([one for one in taken if one is not None])
        # Answers may still be on their way to who waits for them: the last outcomes are told.
        await self._outgoing.join()
        raise _Ended

    async def _hand_in(self, sends: list[messages_pb2.ConverseSend]) -> None:
        drafts: list[Draft] = []
        outcomes: list[Sent | CaxtonError | None] = []
        for one in sends:
            try:
                drafts.append(self._make_draft(one.message, self._name))
                outcomes.append(None)
            except CaxtonError as error:
                outcomes.append(error)
        handed_in = iter(await self._sending.send_all(drafts))
        for one, refused in zip(sends, outcomes, strict=True):
            self._say(one.tag, next(handed_in) if refused is None else refused)

    def _say(self, tag: int, result: Sent | CaxtonError) -> None:
        outcome = messages_pb2.SendOutcome()
        if isinstance(result, Sent):
            outcome.acceptance.CopyFrom(show_acceptance(result))
        else:
            outcome.error.CopyFrom(detail_of(result, trace_id=trace_in_force().trace_id))
        self._outgoing.put_nowait(
            _Response(outcome=messages_pb2.ConverseOutcome(tag=tag, outcome=outcome))
        )

    async def tell(self, write: _Write) -> Never:
        """Write what there is to tell, for ever."""
        while True:
            response = await self._outgoing.get()
            await write(response)
            if response.HasField("outcome"):
                self._room.release()
            self._outgoing.task_done()
