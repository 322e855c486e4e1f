"""Several registries and all that is on its way between them, moved one piece at a time.

Who uses it decides what arrives, when, how often, or never. What is sent travels as bytes. A
watcher looks at every registry after every step and holds what must always hold.
"""

import random
from dataclasses import dataclass, field

from caxton_cluster.registry import (
    AgentAppeared,
    AgentChanged,
    AgentRecord,
    AgentVanished,
    Delta,
    Digest,
    Owner,
    OwnerAppeared,
    OwnerVanished,
    Pull,
    Registry,
    RegistryConfig,
    decode,
    encode,
)


@dataclass(slots=True)
class Parcel:
    """A frame on its way to a node."""

    source: str
    target: str
    data: bytes


@dataclass(slots=True)
class Transfer:
    """A pull under way: first the request, then its chunks."""

    client: str
    pull: Pull
    chunks: list[bytes] | None = None


class Watcher:
    """What one registry must never do, whatever arrives in whatever order."""

    def __init__(self) -> None:
        self.reached: dict[str, tuple[int, int]] = {}
        self.shown: dict[tuple[Owner, str], int] = {}
        """Version of what is listed now, as the events tell."""
        self.buried: dict[tuple[Owner, str], int] = {}
        """Version that the owner had reached here when the record went."""

    def look(self, registry: Registry) -> None:
        reached = {}
        for line in registry.lines():
            reached[line.owner.node] = (line.owner.epoch, line.version)
            before = self.reached.get(line.owner.node, (0, 0))
            assert reached[line.owner.node] >= before, f"{line.owner} went back from {before}"
            assert line.collected_version <= line.version
        # Whom it forgot altogether it may meet again from the beginning.
        for node in self.reached.keys() - reached.keys():
            self.buried = {key: v for key, v in self.buried.items() if key[0].node != node}
        self.reached = reached
        events = registry.take_events()
        back = {event.owner for event in events if isinstance(event, OwnerAppeared)}
        for event in events:
            if isinstance(event, AgentAppeared | AgentVanished) and event.listing.owner in back:
                continue
            if isinstance(event, AgentChanged) and event.after.owner in back:
                continue
            self.hear(event)
        for owner in sorted(back):
            # What happened while it was hidden was not told.
            for listing in registry.listings(owner.node):
                if listing.owner == owner:
                    self.shown[owner, listing.agent] = listing.version

    def hear(self, event: object) -> None:
        match event:
            case AgentAppeared(listing):
                key = (listing.owner, listing.agent)
                assert key not in self.shown, f"{key} appeared twice"
                assert listing.version > self.buried.get(key, 0), f"{key} rose from the dead"
                self.shown[key] = listing.version
            case AgentChanged(before, after):
                key = (after.owner, after.agent)
                assert self.shown[key] == before.version < after.version, f"{key} went back"
                self.shown[key] = after.version
            case AgentVanished(listing):
                key = (listing.owner, listing.agent)
                self.buried[key] = self.shown.pop(key)
            case OwnerVanished(owner):
                self.shown = {key: v for key, v in self.shown.items() if key[0] != owner}
            case OwnerAppeared():
                pass


@dataclass
class Mesh:
    """Nodes by name, and what is on its way."""

    config: RegistryConfig
    now: float = 100.0
    nodes: dict[str, Registry] = field(default_factory=dict)
    watchers: dict[str, Watcher] = field(default_factory=dict)
    parcels: list[Parcel] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> Registry:
        """Start a node, in a new life if it had one; the others hear of it."""
        epoch = self.epochs[name] = self.epochs.get(name, 0) + 1
        chance = random.Random(f"{name} {epoch}")
        node = Registry(self.config, Owner(name, epoch), random=chance, now=self.now)
        self.nodes[name] = node
        self.watchers[name] = Watcher()
        for other in self.nodes:
            if other != name:
                node.member_up(other, self.epochs[other], self.now)
                self.nodes[other].member_up(name, epoch, self.now)
        node.joined()
        self.settle()
        return node

    def crash(self, name: str) -> None:
        """Stop a node; what it sent still travels. The others learn of it from `hear_death`."""
        del self.nodes[name]
        self.transfers = [one for one in self.transfers if one.client != name]

    def hear_death(self, name: str) -> None:
        for node in self.nodes.values():
            node.member_down(name, self.now)
        self.settle()

    def put(self, name: str, agent: str, **fields: object) -> None:
        fields = {"capabilities": ("echo",)} | fields
        self.nodes[name].put(AgentRecord(agent, **fields), self.now)
        self.settle()

    def remove(self, name: str, agent: str) -> None:
        self.nodes[name].remove(agent, self.now)
        self.settle()

    def pass_time(self, duration_s: float) -> None:
        self.now += duration_s
        for node in self.nodes.values():
            node.tick(self.now)
        self.settle()

    # What is on its way.

    def settle(self) -> None:
        """Put on its way whatever the nodes want sent."""
        for name, node in self.nodes.items():
            for delta in node.take_deltas():
                data = encode(delta)
                self.parcels += [Parcel(name, to, data) for to in self.nodes if to != name]
            for digest in node.take_digests():
                self.parcels.append(Parcel(name, digest.peer, encode(digest.digest)))
            self.transfers += [Transfer(name, pull) for pull in node.take_pulls()]
            self.watchers[name].look(node)

    def arrive(self, index: int, *, is_kept: bool = False) -> None:
        """Let a frame arrive; `is_kept` lets it arrive again later."""
        parcel = self.parcels[index] if is_kept else self.parcels.pop(index)
        node = self.nodes.get(parcel.target)
        if node is None:
            return
        match decode(parcel.data):
            case Delta() as delta:
                node.receive_delta(delta, self.now)
            case Digest() as digest:
                node.receive_digest(parcel.source, digest, self.now)
        self.settle()

    def move(self, index: int) -> None:
        """Let a pull do its next step: reach the peer, bring a chunk, end."""
        transfer = self.transfers[index]
        client, server = self.nodes[transfer.client], self.nodes.get(transfer.pull.peer)
        pull = transfer.pull
        if transfer.chunks is None and server is None:
            self.break_off(index)
            return
        if transfer.chunks is None:
            deltas = server.serve_pull(pull.owner, pull.after_version)
            transfer.chunks = [encode(delta) for delta in deltas]
        elif transfer.chunks:
            client.receive_chunk(pull.id, decode(transfer.chunks.pop(0)), self.now)
        else:
            del self.transfers[index]
            client.pull_ended(pull.id, self.now, is_complete=True)
        self.settle()

    def break_off(self, index: int) -> None:
        transfer = self.transfers.pop(index)
        self.nodes[transfer.client].pull_ended(transfer.pull.id, self.now, is_complete=False)
        self.settle()

    def deliver_all(self) -> None:
        """Let everything arrive that is on its way, and all that follows from it at once."""
        steps = 0
        while self.parcels or self.transfers:
            while self.parcels:
                self.arrive(0)
            if self.transfers:
                self.move(0)
            steps += 1
            assert steps < 100_000, "the registries talk without an end"

    def calm_down(self, duration_s: float = 40.0) -> None:
        """Let time pass without any loss."""
        for _ in range(int(duration_s / 0.5)):
            self.pass_time(0.5)
            self.deliver_all()

    # Looking.

    def contents(self, name: str) -> dict[str, dict[str, tuple[int, bytes]]]:
        """Return what a node holds of every node there is: agent → version and value."""
        node = self.nodes[name]
        return {
            owner: {one.agent: (one.version, one.value) for one in node.listings(owner)}
            for owner in self.nodes
        }

    def disagreement(self) -> str | None:
        """Return who does not hold what its owner does, or None."""
        truth = {name: self.contents(name)[name] for name in self.nodes}
        for name, node in self.nodes.items():
            if self.contents(name) != truth:
                return f"{name} holds {self.contents(name)}, there is {truth}"
            found = {(one.node, one.agent) for owner in truth for one in node.listings(owner)}
            shown = {
                (owner, agent)
                for owner, agents in truth.items()
                for agent in agents
                if owner in {one.node for one in node.lookup.locate(agent)}
            }
            if shown != found:
                return f"{name} does not find {found - shown}"
        if len({node.digest().root for node in self.nodes.values()}) > 1:
            return "the digests differ"
        return None
