"""N machines, one clock, one network: the smallest shell that can run them."""

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from caxton_cluster.config import SwimConfig
from caxton_cluster.errors import MalformedPacket
from caxton_cluster.swim.events import Event, NameConflict
from caxton_cluster.swim.machine import Machine
from caxton_cluster.swim.outbox import Exchange
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.transport.memory import LinkQuality, MemoryNetwork
from caxton_cluster.types import Address, Member, MemberState

EPOCH_S = 1_700_000_000
"""What the clock on the wall shows when a run begins; incarnations start from it."""

SOCKET_BUFFER_DATAGRAMS = 256
"""What the kernel keeps for a process that does not read."""

ACTIONS_AT_ONCE_MAX = 100_000
"""More than this at one instant is a machine whose timer never passes."""

STEPS_PER_NODE_SECOND_MAX = 2000
"""More than this is a machine that spins."""


@dataclass(slots=True)
class Node:
    """One process: its machine, and what is being done to it."""

    name: str
    address: Address
    machine: Machine
    life: int
    started_at: float
    is_running: bool = True
    is_paused: bool = False
    is_blocked: bool = False
    """Its timers run, but its input and output wait (Lifeguard's slow member)."""
    has_left: bool = False
    clock_offset_s: float = 0.0
    input_delay_s: float = 0.0
    backlog: list[Callable[[], None]] = field(default_factory=list)
    unsent: list[Callable[[], None]] = field(default_factory=list)
    armed_at: float = float("inf")
    sent_bytes: int = 0
    """By datagram."""
    stream_bytes: int = 0
    """Sent by stream, asked and answered."""
    sent_datagrams: int = 0
    step_count: int = 0

    def view(self) -> dict[str, MemberState]:
        """Return what this node believes of everyone."""
        return {row.name: row.state for row in self.machine.table}

    def live_view(self) -> set[str]:
        """Return whom this node holds alive or suspect."""
        return {row.name for row in self.machine.table if not row.state.is_gone}


Watcher = Callable[[float, Node, Event], None]


class World:
    """A simulation. Nothing happens but in `run_until`.

    Args:
        seed: Decides everything that chance decides.
        config: The same for every node.
        quality: The weather of the network.
        wire: How the nodes write; plain by default.
    """

    def __init__(
        self,
        seed: int,
        config: SwimConfig,
        *,
        quality: LinkQuality | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.seed = seed
        self.config = config
        self.now = 0.0
        self.random = random.Random(seed)
        self.network = MemoryNetwork(quality or LinkQuality(), random.Random(seed + 1))
        self.nodes: dict[str, Node] = {}
        self.watchers: list[Watcher] = []
        self.is_tracing = False
        self.trace_hash = hashlib.sha256()
        self.is_hashing = False
        self._wire = wire or Wire()
        self._at: dict[Address, Node] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._lives = count()

    # Time.

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay_s, next(self._order), action))

    def run_until(self, end_at: float) -> None:
        heap = self._heap
        instant, actions_now = -1.0, 0
        while heap and heap[0][0] <= end_at:
            self.now, _, action = heapq.heappop(heap)
            actions_now = actions_now + 1 if self.now == instant else 0
            instant = self.now
            assert actions_now < ACTIONS_AT_ONCE_MAX, "time stands still: something spins"
            action()
        self.now = end_at

    def run_for(self, duration_s: float) -> None:
        self.run_until(self.now + duration_s)

    def run_until_true(self, condition: Callable[[], bool], deadline_s: float) -> float:
        """Run in small steps until `condition`; return how long it took, infinity if it did not."""
        start, step_s = self.now, 0.01
        while self.now - start < deadline_s:
            if condition():
                return self.now - start
            self.run_for(step_s)
        return float("inf")

    # Nodes.

    def start(
        self,
        name: str,
        address: Address,
        *,
        seeds: list[Address] | None = None,
        incarnation: int | None = None,
        meta: bytes = b"",
    ) -> Node:
        if incarnation is None:
            incarnation = EPOCH_S + int(self.now)
        own = Member(name=name, address=address, incarnation=incarnation, meta=meta)
        life = next(self._lives)
        machine = self.make(own, random.Random((self.seed << 20) + life))
        node = Node(name, address, machine, life, self.now)
        self.nodes[name] = node
        self._at[address] = node
        if seeds:
            machine.book.set_seeds(seeds)
            machine.join(seeds, self.now)
        self.settle(node)
        return node

    def make(self, own: Member, chance: random.Random) -> Machine:
        return Machine(self.config, own, random=chance, now=self.now, wire=self._wire)

    def start_ring(self, size: int, *, port: int = 7946) -> list[Node]:
        """Start `size` nodes at once, the others joining the first."""
        first = address_of(0, port)
        return [
            self.start(f"n{number}", address_of(number, port), seeds=[first] if number else None)
            for number in range(size)
        ]

    def crash(self, node: Node) -> None:
        """Kill the process; its host stays up and refuses connections."""
        node.is_running = False
        node.backlog.clear()
        if self._at.get(node.address) is node:
            del self._at[node.address]

    def leave(self, node: Node) -> None:
        node.has_left = True
        node.machine.leave(self.clock(node))
        self.settle(node)
        self.after(self.config.leave_timeout_s + 1, lambda: self.crash(node))

    def pause(self, node: Node) -> None:
        node.is_paused = True

    def block(self, node: Node) -> None:
        node.is_blocked = True

    def resume(self, node: Node) -> None:
        node.is_paused = node.is_blocked = False
        unsent, node.unsent = node.unsent, []
        for action in unsent:
            action()
        backlog, node.backlog = node.backlog, []
        for action in backlog:
            action()
        self._wake(node)

    def running(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.is_running and not node.has_left]

    # The shell around one machine.

    def clock(self, node: Node) -> float:
        return self.now + node.clock_offset_s

    def when_reading(self, node: Node, action: Callable[[], None]) -> None:
        """Do `action` when the process gets to it."""
        if not node.is_running:
            return
        if node.is_paused or node.is_blocked:
            if len(node.backlog) < SOCKET_BUFFER_DATAGRAMS:
                node.backlog.append(action)
        elif node.input_delay_s:
            self.after(node.input_delay_s, lambda: self._when_awake(node, action))
        else:
            action()

    def _when_awake(self, node: Node, action: Callable[[], None]) -> None:
        if node.is_running and not node.is_paused:
            action()

    def _wake(self, node: Node) -> None:
        if node.is_running and not node.is_paused:
            node.armed_at = float("inf")
            node.machine.tick(self.clock(node))
            self.settle(node)

    def settle(self, node: Node) -> None:
        """Do what the machine wants done, and set its alarm."""
        machine = node.machine
        node.step_count += 1
        for event in machine.take_events():
            self._note(node, event)
        for datagram in machine.take_datagrams():
            self._send(node, datagram.payload, datagram.target)
        for exchange in machine.take_exchanges():
            self._dial(node, exchange)
        wakeup_at = machine.wakeup_at()
        if wakeup_at is None:
            return  # it has left, and nothing is pending
        at = max(self.now, wakeup_at - node.clock_offset_s)
        if at < node.armed_at:
            node.armed_at = at
            self.after(at - self.now, lambda: self._alarm(node, at))

    def _alarm(self, node: Node, at: float) -> None:
        if node.armed_at == at:
            self._wake(node)

    def _note(self, node: Node, event: Event) -> None:
        if self.is_tracing:
            print(f"{self.now:9.3f} {node.name:>5} {type(event).__name__:<16} {brief(event)}")
        if self.is_hashing:
            self.trace_hash.update(f"{self.now!r} {node.name} {event!r}".encode())
        for watcher in self.watchers:
            watcher(self.now, node, event)

    def _send(self, node: Node, payload: bytes, target: Address) -> None:
        if node.is_blocked:
            if len(node.unsent) < SOCKET_BUFFER_DATAGRAMS:
                node.unsent.append(lambda: self._send(node, payload, target))
            return
        node.sent_bytes += len(payload)
        node.sent_datagrams += 1
        assert len(payload) <= self.config.datagram_size_bytes, "a datagram over its budget"
        if self.is_hashing:
            self.trace_hash.update(payload)
        for delay_s in self.network.datagram_delays_s(node.address, target):
            self.after(delay_s, lambda: self._arrive(node.address, payload, target))

    def _arrive(self, source: Address, payload: bytes, target: Address) -> None:
        node = self._at.get(target)
        if node is not None:
            self.when_reading(node, lambda: self._receive(node, source, payload))

    def _receive(self, node: Node, source: Address, payload: bytes) -> None:
        node.machine.receive(payload, source, self.clock(node))
        self.settle(node)

    # Streams.

    def _dial(self, node: Node, exchange: Exchange) -> None:
        stream = _Stream(self, node, exchange)
        if node.is_blocked:
            node.unsent.append(stream.open)
        else:
            stream.open()

    def node_at(self, address: Address) -> Node | None:
        return self._at.get(address)


class _Stream:
    """One exchange on its way there and back, ended once: answered, refused or timed out."""

    def __init__(self, world: World, node: Node, exchange: Exchange) -> None:
        self.world = world
        self.node = node
        self.exchange = exchange
        self.started_at = world.now
        self.is_over = False

    def open(self) -> None:
        self.node.stream_bytes += len(self.exchange.request)
        self.world.after(
            self.exchange.timeout_s,
            lambda: self.world.when_reading(self.node, lambda: self.fail("timed out")),
        )
        self._travel(self.node.address, self.exchange.target, self.arrive)

    def _travel(self, source: Address, target: Address, action: Callable[[], None]) -> None:
        delay_s = self.world.network.stream_delay_s(source, target)
        if delay_s is not None:
            self.world.after(delay_s, action)

    def _travel_back(self, action: Callable[[], None]) -> None:
        def read() -> None:
            self.world.when_reading(self.node, action)

        self._travel(self.exchange.target, self.node.address, read)

    def arrive(self) -> None:
        server = self.world.node_at(self.exchange.target)
        if server is None:
            self._travel_back(lambda: self.fail("refused", is_refused=True))
        else:
            self.world.when_reading(server, lambda: self.serve(server))

    def serve(self, server: Node) -> None:
        if self.world.now - self.started_at > self.exchange.timeout_s:
            return
        message = server.machine.request_decoder().feed(self.exchange.request)
        assert message is not None, "requests arrive whole here"
        reply = server.machine.serve(message, self.world.clock(server))
        self.world.settle(server)
        if reply is not None:
            server.stream_bytes += len(reply)
            self._travel_back(lambda: self.answer(reply))

    def fail(self, reason: str, *, is_refused: bool = False) -> None:
        if not self.is_over:
            self.is_over = True
            now = self.world.clock(self.node)
            self.node.machine.exchange_failed(self.exchange.id, reason, now, is_refused=is_refused)
            self.world.settle(self.node)

    def answer(self, reply: bytes) -> None:
        if self.is_over:
            return
        self.is_over = True
        machine, now = self.node.machine, self.world.clock(self.node)
        try:
            message = machine.reply_decoder().feed(reply)
        except MalformedPacket as error:
            machine.exchange_malformed(self.exchange.id, error, now)
        else:
            machine.exchange_answered(self.exchange.id, message, now)
        self.world.settle(self.node)


def address_of(number: int, port: int = 7946) -> Address:
    return Address(bytes((10, 0, number // 250, number % 250 + 1)), port)


def brief(event: Event) -> str:
    """Return the gist of an event for a line of the trace."""
    if isinstance(event, NameConflict):
        return f"{event.known.name} {event.known.address} claimed at {event.claimed}"
    member = getattr(event, "member", None)
    if member is None:
        return str(event)
    return f"{member.name} {member.address} i{member.incarnation} {member.state.name.lower()}"
