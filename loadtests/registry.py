"""How big the registry is and how fast: 20,000 agents on 10 nodes, as one node holds them.

    python -m loadtests.registry               a table, and build/bench/registry.json
    python -m loadtests.registry --agents 200  a node instead of 2,000

Times of work are CPU time of one process, each the median of several runs. The bootstrap is
measured as a user meets it: by the clock, from the moment at which an empty node knows its peers
until it is ready, over TCP on 127.0.0.1, with all nodes in this one process and on one core: what
the ten serve costs time here as well, where ten machines would share it.

How long news takes is simulated, with the membership of the `lan` preset, a network of 0.2 to 1 ms
and frames that are lost like datagrams. Links lose nothing while they stand: read the rows with
loss as what happens when they break.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from caxton_cluster.config import lan
from caxton_cluster.registry import (
    AgentRecord,
    Delta,
    Owner,
    Pull,
    Registry,
    RegistryConfig,
    Strategy,
    decode,
    encode,
)
from caxton_cluster.registry.records import pack_record
from caxton_cluster.transport.memory import LinkQuality
from tests.sim.registry_ring import RegistryWorld

NODES = 10
ROUNDS = 7
LOOKUPS = 20_000
BOOTSTRAP_TIMEOUT_S = 30.0
FRAME_LIMIT_BYTES = 1 << 20

CAPABILITIES = tuple(f"skill-{number}.special" for number in range(50))


def a_record(node: str, number: int, chance: random.Random) -> AgentRecord:
    """Return a record like those of real agents: one to four capabilities, a line of text."""
    offers = chance.sample(CAPABILITIES, chance.randint(1, 4))
    return AgentRecord(
        f"Agent-{node}-{number}",
        tuple(f"{offer}:v2" if chance.random() < 0.2 else offer for offer in offers),
        agent_version=f"1.{chance.randrange(20)}.0",
        load=chance.choice((0, 0, 0, 0, 1, 1, 2, 3)),
        kind="llm",
        definition_digest=chance.randbytes(32),
        description="Reads what it is given and answers in a few words",
    )


def a_node(name: str, agents: int) -> Registry:
    """Return the registry of a node that lists its agents."""
    chance = random.Random(name)
    node = Registry(RegistryConfig(), Owner(name, 1), random=chance, now=0.0)
    for number in range(agents):
        node.put(a_record(name, number, chance), 0.0)
    node.tick(1.0)
    node.take_deltas()
    node.take_events()
    return node


def a_newcomer(others: list[Registry], now: float = 0.0) -> Registry:
    """Return an empty registry that knows its peers."""
    node = Registry(RegistryConfig(), Owner("new", 1), random=random.Random(1), now=now)
    for other in others:
        node.member_up(other.owner.node, other.owner.epoch, now)
    return node


def take_in(node: Registry, frames: list[bytes]) -> None:
    """Let a node receive frames, as from links."""
    for frame in frames:
        delta = decode(frame)
        assert isinstance(delta, Delta)
        node.receive_delta(delta, 0.0)
    node.take_events()


def cpu_s(action: Callable[[], object], *, prepare: Callable[[], object] = lambda: None) -> float:
    """Return the median CPU time of one run of `action`."""
    samples = []
    for _ in range(ROUNDS):
        prepare()
        gc.collect()
        started = time.process_time()
        action()
        samples.append(time.process_time() - started)
    return statistics.median(samples)


def each_us(action: Callable[[int], object], count: int = LOOKUPS) -> float:
    """Return the CPU time of one of many calls, in microseconds."""

    def all_of_them() -> None:
        for number in range(count):
            action(number)

    def nothing() -> None:
        for number in range(count):
            _idle(number)

    return max(0.0, cpu_s(all_of_them) - cpu_s(nothing)) / count * 1e6


def _idle(_: int) -> None:
    """Cost what a call costs."""


def measure_work(nodes: list[Registry], agents: int) -> dict[str, float]:
    """Return how long packing, serving and applying take, in milliseconds."""
    total = len(nodes) * agents
    records = [listing.record for node in nodes for listing in node.listings(node.owner.node)]
    deltas = [delta for node in nodes for delta in node.serve_pull(node.owner, 0)]
    frames = [encode(delta) for delta in deltas]
    values = [len(entry.value or b"") for delta in deltas for entry in delta.entries]
    newcomers: list[Registry] = []

    def make() -> None:
        newcomers[:] = [a_newcomer(nodes)]

    def apply() -> None:
        take_in(newcomers[0], frames)

    applied_s = cpu_s(apply, prepare=make)
    assert len(newcomers[0].lookup.agents()) == total
    return {
        "record_bytes_mean": statistics.mean(values),
        "record_bytes_max": max(values),
        "all_bytes": sum(map(len, frames)),
        "chunks": len(frames),
        "chunk_bytes_max": max(map(len, frames)),
        "pack_ms": cpu_s(lambda: [pack_record(record) for record in records]) * 1e3,
        "serve_ms": cpu_s(lambda: [node.serve_pull(node.owner, 0) for node in nodes]) * 1e3,
        "encode_ms": cpu_s(lambda: [encode(delta) for delta in deltas]) * 1e3,
        "decode_ms": cpu_s(lambda: [decode(frame) for frame in frames]) * 1e3,
        "apply_ms": applied_s * 1e3,
    }


def measure_lookups(node: Registry, agents: int) -> dict[str, float]:
    """Return how long questions take, in microseconds."""
    lookup = node.lookup
    names = [f"Agent-n{n % NODES}-{n % agents}" for n in range(LOOKUPS)]
    special = [CAPABILITIES[n % len(CAPABILITIES)] for n in range(LOOKUPS)]
    general = [name.partition(".")[0] for name in special]
    balanced = partial(lookup.choose, strategy=Strategy.LOAD_BALANCED)
    assert all(lookup.locate(name) for name in names[:NODES])
    assert all(lookup.choose(name) for name in special[:50])
    return {
        "locate_us": each_us(lambda n: lookup.locate(names[n])),
        "locate_miss_us": each_us(lambda _: lookup.locate("Nobody")),
        "best_match_us": each_us(lambda n: lookup.choose(special[n], turn=n)),
        "best_match_general_us": each_us(lambda n: lookup.choose(general[n], turn=n)),
        "load_balanced_us": each_us(lambda n: balanced(special[n], turn=n)),
        "choose_miss_us": each_us(lambda _: lookup.choose("nothing-like-it")),
        "providers_us": each_us(lambda n: lookup.providers(special[n]), 50),
        "suggest_capabilities_us": each_us(lambda _: lookup.suggest_capabilities("skil-7.spec"), 5),
        "suggest_agents_us": each_us(lambda _: lookup.suggest_agents("Agnt-n3-77"), 5),
    }


def measure_upkeep(nodes: list[Registry], node: Registry) -> dict[str, float]:
    """Return what comparing and changing cost once everything is known."""
    digest = encode(node.digest())
    peer = nodes[0]
    line = peer.lines()[0]
    chance = random.Random(1)

    def change(number: int) -> None:
        peer.put(a_record(peer.owner.node, number % 100, chance), 2.0)

    def hide_and_show(_: int) -> None:
        node.member_down("n1", 3.0)
        node.member_up("n1", 1, 3.0)

    return {
        "digest_bytes": len(digest),
        "digest_us": each_us(lambda _: node.digest(), 2000),
        "compare_us": each_us(lambda _: node.receive_digest("n2", decode(digest), 3.0), 2000),
        "hide_and_show_node_us": each_us(hide_and_show, 2000),
        "own_change_us": each_us(change, 2000),
        "agents_of_hidden_node": line.record_count,
    }


def measure_memory(nodes: list[Registry]) -> dict[str, float]:
    """Return what a node takes to know of all agents of the others, in bytes."""
    frames = [encode(delta) for node in nodes for delta in node.serve_pull(node.owner, 0)]
    gc.collect()
    tracemalloc.start()
    newcomer = a_newcomer(nodes)
    take_in(newcomer, frames)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    count = len(newcomer.lookup.agents())
    return {"memory_bytes": size, "memory_bytes_per_agent": size / count}


# The bootstrap: a driver of the smallest kind, over TCP.


class Shell:
    """One node's registry behind a port."""

    def __init__(self, registry: Registry, peers: "dict[str, Shell]") -> None:
        self.registry = registry
        self.peers = peers
        self.port = 0
        self.pulls: set[asyncio.Task[None]] = set()
        self.pull_count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one pull."""
        node, epoch, after = json.loads(await reader.readline())
        for delta in self.registry.serve_pull(Owner(node, epoch), after):
            data = encode(delta)
            writer.write(len(data).to_bytes(4, "big") + data)
            await writer.drain()
        writer.close()

    async def pull(self, pull: Pull, clock: Callable[[], float]) -> None:
        """Make one pull."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.peers[pull.peer].port)
        request = [pull.owner.node, pull.owner.epoch, pull.after_version]
        writer.write(json.dumps(request).encode() + b"\n")
        while head := await reader.read(4):
            head += await reader.readexactly(4 - len(head))
            chunk = decode(await reader.readexactly(int.from_bytes(head, "big")))
            assert isinstance(chunk, Delta)
            self.registry.receive_chunk(pull.id, chunk, clock())
            self.registry.take_events()
        writer.close()
        self.registry.pull_ended(pull.id, clock(), is_complete=True)

    def settle(self, tasks: asyncio.TaskGroup, clock: Callable[[], float]) -> None:
        """Carry out what the registry wants; frames take a turn of the loop each."""
        registry, name = self.registry, self.registry.owner.node
        loop = asyncio.get_running_loop()
        for out in registry.take_digests():
            loop.call_soon(self.peers[out.peer].hear, name, encode(out.digest), clock)
        for pull in registry.take_pulls():
            self.pull_count += 1
            self.pulls.add(tasks.create_task(self.pull(pull, clock)))
        registry.take_events()

    def hear(self, source: str, frame: bytes, clock: Callable[[], float]) -> None:
        """Take in a digest."""
        digest = decode(frame)
        assert not isinstance(digest, Delta)
        self.registry.receive_digest(source, digest, clock())


async def bootstrap_s(nodes: list[Registry]) -> float:
    """Return how long an empty node takes to know everything."""
    clock = asyncio.get_running_loop().time
    shells: dict[str, Shell] = {}
    for node in nodes:
        shells[node.owner.node] = Shell(node, shells)
        node.member_up("new", 1, clock())
    servers = []
    for shell in shells.values():
        server = await asyncio.start_server(shell.serve, "127.0.0.1", 0, limit=FRAME_LIMIT_BYTES)
        shell.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    gc.collect()
    started = clock()
    newcomer = a_newcomer(nodes, started)
    newcomer.joined()
    shells["new"] = Shell(newcomer, shells)
    async with asyncio.timeout(BOOTSTRAP_TIMEOUT_S), asyncio.TaskGroup() as tasks:
        while not newcomer.is_ready:
            for shell in shells.values():
                shell.registry.tick(clock())
                shell.settle(tasks, clock)
            await asyncio.sleep(0.002)
    took_s = clock() - started
    assert len(newcomer.lookup.agents()) == sum(node.lines()[0].record_count for node in nodes)
    for server in servers:
        server.close()
    for node in nodes:
        node.member_down("new", clock())
    return took_s


def measure_bootstrap(nodes: list[Registry]) -> dict[str, float]:
    """Return how long an empty node takes to be ready, in milliseconds."""
    samples = [uvloop.run(bootstrap_s(nodes)) * 1e3 for _ in range(ROUNDS)]
    return {"bootstrap_ms": statistics.median(samples), "bootstrap_worst_ms": max(samples)}


# News, in virtual time.


def until_known(world: RegistryWorld, deadline_s: float = 60.0) -> float:
    """Return how long it takes from here until all nodes know the same, in milliseconds."""
    return world.run_until_true(lambda: world.disagreement() is None, deadline_s) * 1e3


def measure_news(loss: float) -> dict[str, float]:
    """Return how long changes and a healed partition take to be known everywhere."""
    world = RegistryWorld(7, lan(), RegistryConfig(), agents=20, is_watching=False)
    world.start_ring(NODES)
    until_known(world)
    world.network.quality = LinkQuality(loss=loss)
    single, burst = [], []
    keepers = [world.keepers[name] for name in sorted(world.keepers)]
    for turn in range(60):
        keeper = keepers[turn % NODES]
        keeper.registry.put(world.new_record(keeper, turn % 20), world.now)
        world.settle_registry(keeper)
        single.append(until_known(world))
    for turn in range(10):
        keeper = keepers[turn % NODES]
        for number in range(200):
            keeper.registry.put(world.new_record(keeper, number), world.now)
        world.settle_registry(keeper)
        burst.append(until_known(world))
    healed = []
    for turn in range(5):
        addresses = [world.nodes[keeper.node].address for keeper in keepers]
        left = addresses[turn % 3 :: 2]
        sides = left, [one for one in addresses if one not in left]
        world.network.cut_between(*sides)
        world.churn_for(30.0, 1.0)
        world.run_for(35.0)
        world.network.mend_between(*sides)
        healed.append(until_known(world))
    name = f"loss_{loss:.0%}".replace("%", "")
    return {
        f"{name}_change_p50_ms": statistics.median(single),
        f"{name}_change_worst_ms": max(single),
        f"{name}_burst_p50_ms": statistics.median(burst),
        f"{name}_burst_worst_ms": max(burst),
        f"{name}_heal_p50_ms": statistics.median(healed),
        f"{name}_heal_worst_ms": max(healed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.registry", description=__doc__)
    parser.add_argument("--agents", type=int, default=2000, help="of each of the ten nodes")
    parser.add_argument("--directory", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    nodes = [a_node(f"n{number}", arguments.agents) for number in range(NODES)]
    informed = a_newcomer(nodes)
    for node in nodes:
        take_in(informed, [encode(delta) for delta in node.serve_pull(node.owner, 0)])
    report = {"nodes": NODES, "agents": NODES * arguments.agents}
    report |= measure_memory(nodes)
    report |= measure_bootstrap(nodes)
    report |= measure_work(nodes, arguments.agents)
    report |= measure_lookups(informed, arguments.agents)
    report |= measure_upkeep(nodes, informed)
    for loss in (0.0, 0.05, 0.25):
        report |= measure_news(loss)
    for name, value in report.items():
        print(f"{name:28}{value:16,.0f}" if value >= 100 else f"{name:28}{value:16,.2f}")
    (arguments.directory / "registry.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
