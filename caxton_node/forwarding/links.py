"""The links of a node to all others: who can be reached, and the inboxes of what is there.

One link a pair of nodes, kept for as long as both live. The rest of the node sees inboxes and a few
questions; how frames travel is `caxton_node.forwarding.link`'s business, what becomes of messages
`custody`'s. Of two nodes the one whose name comes first calls.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextvars import Context
from random import Random
from typing import Any, Final

import grpc

from caxton.v1.peer_pb2 import PeerLinkRequest, PeerLinkResponse
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.forwarding.convert import hello_of
from caxton_node.forwarding.credentials import caller_of, open_channel
from caxton_node.forwarding.custody import Custody
from caxton_node.forwarding.errors import LinkBroken, LinkRefused
from caxton_node.forwarding.inbox import RemoteInbox
from caxton_node.forwarding.link import GREETING_TIMEOUT_S, Link
from caxton_node.forwarding.machine import Hello, Self
from caxton_node.forwarding.outbox import Parcel
from caxton_node.forwarding.peers import Peer, PeerDirectory
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.forwarding.streams import Answered, Called
from caxton_node.routing.arrivals import Arrivals
from caxton_node.routing.directory import Inbox
from caxton_node.routing.pipeline import Pipeline
from caxton_node.security.tls_files import TlsFiles
from caxton_node.telemetry.cluster_metrics import LinkSnapshot
from caxton_node.telemetry.trace import CURRENT_TRACE

__all__ = ["Links", "OnLink", "OnMet", "OnRegistry", "Self"]

OnRegistry = Callable[[str, bytes], None]
"""Takes the name of a node and what it says of the registry."""

OnLink = Callable[[str, bool], None]
"""Takes the name of a node and whether its link is up now."""

OnMet = Callable[[str, int], None]
"""Takes the name of a node and the identity of its journal."""

REDIAL_FIRST_S: Final = 0.05
REDIAL_MAX_S: Final = 2.0
REDIAL_SPREAD: Final = 0.2
"""Attempts to call a node that does not answer: doubling, each spread by ± this share."""

FRAME_SIZE_MAX: Final = 8_000_000
"""What gRPC takes as one message; a frame stays far below."""

_log = logging.getLogger("caxton.link")


class Links:
    """The links of this node. All methods belong to the event loop.

    Args:
        me: This node.
        peers: The other nodes, as the ring knows them.
        pipeline: Takes in what arrives, and ends what was forwarded.
        files: This node's certificates; None where channels are plain.
    """

    def __init__(
        self,
        *,
        me: Self,
        peers: PeerDirectory,
        pipeline: Pipeline,
        files: TlsFiles | None,
    ) -> None:
        self._me = me
        self._directory = peers
        self._pipeline = pipeline
        self._files = files
        self._arrivals = Arrivals(pipeline)
        self._custody = Custody(
            me.node, pipeline, self._link, lambda node: peers.find(node) is not None
        )
        self.order = pipeline.order = self._custody.order
        """Keeps conversations in order while agents move."""
        self._custody.on_look_again = self.reconsider
        self._links: dict[str, Link] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._inboxes: dict[tuple[str, str], RemoteInbox] = {}
        self._dialing: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._random = Random()  # noqa: S311 - it spreads attempts; nothing secret hangs on it
        self.on_registry: OnRegistry = _nobody_hears
        """Told of what another node says of the registry. Whoever keeps it sets this."""
        self.on_link: OnLink = _nobody_looks
        """Told of a link that came up or went down."""
        self.on_echo: Callable[[], None] = _nobody_asked
        """Told when a node has answered a ping."""
        self.on_met: OnMet = _nobody_notes
        """Told of a node that was met, and which journal it has."""

    # Its life.

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Dial the peers and keep their links, in tasks to be cancelled at the end."""
        self._directory.on_seen = self._seen
        self._directory.on_gone = self._gone
        return [tasks.create_task(self._keep(), name="links")]

    async def _keep(self) -> None:
        """Own the tasks of all links, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for peer in self._directory:
                    self._seen(peer)
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve the links that other nodes open: the method `Link` of `caxton.v1.Peer`.

        Other methods of the service are added by their own handlers, next to this one.
        """
        handler = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=PeerLinkRequest.FromString,
            response_serializer=PeerLinkResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("caxton.v1.Peer", {"Link": handler}),)
        )

    # Whom there is.

    def peers(self) -> Sequence[str]:
        """Return the names of the other nodes that are held alive, linked or not, by name."""
        return sorted(peer.node for peer in self._directory)

    def is_up(self, node: str) -> bool:
        """Return whether messages flow between this node and another."""
        link = self._links.get(node)
        return link is not None and link.is_up

    def round_trip_s(self, node: str) -> float | None:
        """Return how long the last frame to a node and its echo took; None when never."""
        link = self._links.get(node)
        return None if link is None else link.round_trip_s

    def ping_all(self) -> None:
        """Have every linked node answer at once; `on_echo` is told."""
        for link in self._links.values():
            link.ping()

    def echoed_at_s(self) -> Sequence[float]:
        """Return, for each other node, when this one asked what that one answered last."""
        return [link.echoed_at_s for link in self._links.values()]

    def waiting_count(self, node: str) -> int:
        """Return how many messages wait to be sent to a node."""
        link = self._links.get(node)
        return 0 if link is None else link.machine.outbox.pending_count

    def snapshots(self) -> Sequence[LinkSnapshot]:
        """Return what each link to a node that is held alive has counted, by name."""
        return [
            LinkSnapshot(
                peer=node,
                is_up=link.is_up,
                waiting_count=link.machine.outbox.pending_count,
                round_trip_s=link.round_trip_s,
                sent_count=link.machine.outbox.sent_count,
                received_count=link.received_count,
                sent_again_count=link.machine.outbox.sent_again_count,
                break_count=link.break_count,
            )
            for node in self.peers()
            if (link := self._links.get(node)) is not None
        ]

    @property
    def up_count(self) -> int:
        """Links that are up."""
        return sum(link.is_up for link in self._links.values())

    def channel(self, node: str) -> grpc.aio.Channel | None:
        """Return the channel for calls to a node, or None when it is not held alive."""
        peer = self._directory.find(node)
        if peer is None:
            return None
        if node not in self._channels:
            self._channels[node] = open_channel(
                peer.address,
                node=node,
                files=self._files,
                options=(
                    ("grpc.max_receive_message_length", FRAME_SIZE_MAX),
                    ("grpc.max_send_message_length", FRAME_SIZE_MAX),
                    ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.min_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 2_000),
                ),
            )
        return self._channels[node]

    def inbox(self, node: str, agent: RemoteAgent) -> RemoteInbox:
        """Return the inbox of an agent on another node, brought up to date.

        Always the same object for the same agent on the same node, so that it may be kept.
        """
        inbox = self._inboxes.get((node, agent.name))
        if inbox is None:
            inbox = RemoteInbox(node, agent, self._custody)
            self._inboxes[node, agent.name] = inbox
            if agent.name:
                self.order.know(inbox)
        inbox.record = agent
        return inbox

    def known_inbox(self, node: str, agent: str) -> Inbox:
        """Return the inbox of an agent on another node as it was last known, or as any is."""
        return self._inboxes.get((node, agent)) or self.inbox(node, RemoteAgent(name=agent))

    def client(self, node: str) -> Inbox:
        """Return what takes answers to the clients of another node."""
        return self._inboxes.get((node, "")) or self.inbox(node, RemoteAgent(name=""))

    # The registry rides along.

    def broadcast_registry(self, payload: bytes) -> None:
        """Tell every linked node something of the registry. It may be lost on the way."""
        for link in self._links.values():
            link.say_registry(payload)

    def send_registry(self, node: str, payload: bytes) -> bool:
        """Tell one node something of the registry. It may be lost on the way.

        Returns:
            False when there is no link now.
        """
        link = self._links.get(node)
        return link is not None and link.say_registry(payload)

    # Who is where has changed.

    def reconsider(self, agents: Collection[str] | None = None) -> None:
        """Route again what waits for agents whose place changed.

        Called by whoever keeps the registry, after each change of who is where; and when an agent
        came to this node. Call it before anything else is sent to them, so that order is kept.

        Args:
            agents: Their names; None is all, as after a node's death.
        """
        if self._custody.open_inboxes():
            agents = None
        for node, link in list(self._links.items()):
            if self._directory.find(node) is None and link.machine.has_messages:
                self._custody.left_over(link, link.let_go())
        self._pipeline.reconsider(agents)

    def give_up_on(self, node: str, why: str) -> None:
        """End what only a node could have told of: it `why`."""
        self._custody.give_up_on(node, why)

    def expect_journal(self, node: str, journal: int) -> None:
        """Take note which journal a node had when this one met it last."""
        self._link(node).machine.peer_journal = journal

    def _seen(self, peer: Peer) -> None:
        """Dial a node that is new, has another address, or began another life."""
        channel = self._channels.pop(peer.node, None)
        if channel is not None:
            self._close_soon(channel)
        if self._tasks is None:
            return
        dialing = self._dialing.pop(peer.node, None)
        if dialing is not None:
            dialing.cancel()
        if self._me.node < peer.node:
            # In a context of its own: what a link does for weeks belongs to nobody's request.
            self._dialing[peer.node] = self._tasks.create_task(
                self._dial(peer), name=f"link to {peer.node}", context=Context()
            )

    def _close_soon(self, channel: grpc.aio.Channel) -> None:
        if self._tasks is not None:
            self._tasks.create_task(channel.close(), name="close channel")

    def _gone(self, peer: Peer) -> None:
        """Give a node up that is dead or has left."""
        dialing = self._dialing.pop(peer.node, None)
        if dialing is not None:
            dialing.cancel()
        channel = self._channels.pop(peer.node, None)
        if channel is not None:
            self._close_soon(channel)
        link = self._links.get(peer.node)
        if link is not None:
            self._custody.left_over(link, link.let_go())

    # Streams.

    def _link(self, node: str) -> Link:
        link = self._links.get(node)
        if link is None:
            link = Link(self._me, node, events=self, arrivals=self._arrivals)
            self._links[node] = link
        return link

    async def _dial(self, peer: Peer) -> None:
        """Call a node again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        link, delay_s, why_before = self._link(peer.node), REDIAL_FIRST_S, ""
        while True:
            began_s = loop.time()
            why = await self._call(link)
            if loop.time() - began_s > REDIAL_MAX_S:
                delay_s, why_before = REDIAL_FIRST_S, ""
            if why != why_before:
                _log.warning("no link to %s: %s", peer.node, why)
                why_before = why
            spread = self._random.uniform(1 - REDIAL_SPREAD, 1 + REDIAL_SPREAD)
            await asyncio.sleep(delay_s * spread)
            delay_s = min(delay_s * 2, REDIAL_MAX_S)

    async def _call(self, link: Link) -> str:
        """Be linked until the stream ends; return why it did."""
        channel = self.channel(link.node)
        if channel is None:
            return "it is not held alive"
        stream = Called(channel)
        try:
            await link.serve(stream)
            return await stream.ending()
        except grpc.aio.AioRpcError as problem:
            return f"{problem.code().name}: {problem.details()}"
        except (LinkBroken, LinkRefused, asyncio.InvalidStateError) as problem:
            return str(problem)
        finally:
            stream.cancel()

    async def _answer(self, _requests: Any, context: Any) -> None:
        """Serve a link that another node opens."""
        stream = Answered(context)
        hello = await _greeting(stream)
        if hello is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "say first who you are")
            return
        caller = caller_of(context)
        if caller.is_certified and (caller.kind, caller.name) != ("node", hello.node):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"the certificate is not that of {hello.node!r}"
            )
        if hello.node >= self._me.node:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{self._me.node} calls, not {hello.node}"
            )
        # What a link does for weeks belongs to nobody's request.
        CURRENT_TRACE.set(None)
        link = self._link(hello.node)
        try:
            link.machine.check(hello)
            await link.serve(stream, greeting=hello)
        except LinkRefused as problem:
            _log.warning("link refused: %s", problem)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(problem))
        except LinkBroken as problem:
            _log.warning("link broken: %s", problem)
            await context.abort(grpc.StatusCode.ABORTED, str(problem))

    # What links tell.

    def acked(self, link: Link, parcels: list[Parcel]) -> None:
        """See `LinkEvents`."""
        self._custody.acked(link.node, parcels)

    def ended(self, parcels: list[Parcel], status: DeliveryStatus, reason: str | None) -> None:
        """See `LinkEvents`."""
        self._custody.ended(parcels, status, reason)

    def refused(self, parcel: Parcel, code: str, detail: str) -> None:
        """See `LinkEvents`."""
        self._custody.refused(parcel, code, detail)

    def left_over(self, link: Link, parcels: list[Parcel]) -> None:
        """See `LinkEvents`."""
        self._custody.left_over(link, parcels)

    def met(self, link: Link) -> None:
        """See `LinkEvents`."""
        machine = link.machine
        if machine.is_forgetful:
            _log.warning("%s has lost its journal", link.node)
            self._custody.give_up_on(link.node, "has lost its journal")
        self.on_met(link.node, machine.peer_journal)

    def changed(self, link: Link) -> None:
        """See `LinkEvents`."""
        _log.info("link to %s is %s", link.node, "up" if link.is_up else "down")
        self.on_link(link.node, link.is_up)

    def registry(self, node: str, payload: bytes) -> None:
        """See `LinkEvents`."""
        self.on_registry(node, payload)

    def echoed(self) -> None:
        """See `LinkEvents`."""
        self.on_echo()


async def _greeting(stream: Answered) -> Hello | None:
    try:
        async with asyncio.timeout(GREETING_TIMEOUT_S):
            first = await stream.read()
    except TimeoutError:
        return None
    return None if first is None else hello_of(first)


def _nobody_hears(_node: str, _payload: bytes) -> None:
    """Stand in until somebody keeps the registry."""


def _nobody_asked() -> None:
    """Stand in until somebody asks who is there."""


def _nobody_notes(_node: str, _journal: int) -> None:
    """Stand in until somebody remembers journals."""


def _nobody_looks(_node: str, _is_up: bool) -> None:
    """Stand in until somebody wants to know."""
