"""What one node on one core carries in its place in a cluster, with the other nodes emulated.

    python -m loadtests.scaling                all places, a table, build/bench/scaling.json
    python -m loadtests.scaling 2:17000 …      peers and messages a second each way

A node is a real one on a core of its own (the writer's thread of its store with it): its clients
send to agents of the peers, the peers' clients send to its agents, every message at least once,
synced to disk on this node, over mTLS. The peers share the other core. Each has a link of its own,
a certificate, frames, credit and acks, as a node has; but no disk and no agents: it says at once
that a message was delivered. So what is measured is one node with the traffic of its place, and not
how many nodes two cores can pretend to be.

The time of a message counts from its acceptance call on one side until the agent, or the emulated
peer, has it on the other.
"""

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from caxton_node.agentfile import AgentFormat
from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.ids import boot_token, id_factory
from caxton_node.domain.message import Message, encode_message
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.credentials import open_channel
from caxton_node.forwarding.errors import LinkBroken
from caxton_node.forwarding.link import Link
from caxton_node.forwarding.links import Links, Self
from caxton_node.forwarding.outbox import Parcel
from caxton_node.forwarding.peers import Peer, PeerDirectory
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.forwarding.streams import Called
from caxton_node.grpc_api.server import Port, Service, open_grpc
from caxton_node.process import COLLECT_EVERY, SWITCH_INTERVAL_S
from caxton_node.routing.elsewhere import Nowhere
from caxton_node.security.authority import make_authority, read_authority
from caxton_node.security.tls_files import TlsFiles
from loadtests import forwarding

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build" / "bench" / "scaling.json"
PLACES = ("2:17000", "9:20000", "2:10000", "9:10000")
"""Among three nodes, among ten; and half of it."""

NODE = "zz"
"""Comes last by name: the peers call."""

SECONDS = 8.0
WARM_S = 1.5
MAILBOX = 100_000
AGENTS = 100
CONTENT = forwarding.CONTENT
SETTLE_TIMEOUT_S = 30.0


def certificates(folder, names):
    """Make an authority and a certificate for each name."""
    now = datetime.now(UTC)
    root = make_authority("bench", now=now)
    (folder / "ca.crt").write_bytes(root.certificate)
    authority = read_authority(root.certificate, root.key)
    for name in names:
        issued = authority.issue("node", name, hosts=("127.0.0.1",), now=now)
        (folder / f"{name}.crt").write_bytes(issued.certificate)
        (folder / f"{name}.key").write_bytes(issued.key)
        (folder / f"{name}.key").chmod(0o600)


def files_of(folder, name):
    """Return the certificate files of a node."""
    return TlsFiles(
        authority=folder / "ca.crt",
        certificate=folder / f"{name}.crt",
        key=folder / f"{name}.key",
        node=name,
    )


def a_message(new_id, receiver):
    """Return a message that notes when it was sent."""
    return Message(
        new_id("msg"),
        Performative.INFORM,
        "client",
        receiver,
        CONTENT,
        new_id("conv"),
        delivery=DeliveryMode.AT_LEAST_ONCE,
        created_at=time.time_ns() // 1_000_000,
        metadata={"sent": time.monotonic()},
    )


async def evenly(rate, seconds, send):
    """Call `send` at an even rate."""
    started_s, sent = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        due = int(elapsed_s * rate)
        while sent < due:
            send()
            sent += 1
        await asyncio.sleep(0.001)
    return sent


# The node.


class Spread(Nowhere):
    """Agents `far<peer>-<n>` are on the peers."""

    def __init__(self, links):
        self.links = links
        self.inboxes_by_name = {}

    def inbox(self, agent):
        found = self.inboxes_by_name.get(agent)
        if found is None and agent.startswith("far"):
            peer = f"peer{agent[3:].partition('-')[0]}"
            found = self.links.inbox(peer, RemoteAgent(name=agent, mailbox=MAILBOX))
            self.inboxes_by_name[agent] = found
        return found


@asynccontextmanager
async def opened(folder, peers):
    """Open the node, with agents, known to its peers."""
    flags = {
        "node.data_dir": str(folder / NODE),
        "node.name": NODE,
        "python.allow": "loadtests.*",
    }
    loaded = load_settings(flags=flags, environment={}, working_dir=folder, home=folder)
    async with open_node(loaded, environment={}) as node, asyncio.TaskGroup() as tasks:
        directory = PeerDirectory()
        me = Self(node=NODE, epoch=time.time_ns() // 1_000_000, cluster="bench", version="1")
        files = files_of(folder, NODE)
        links = Links(me=me, peers=directory, pipeline=node.pipeline, files=files)
        node.pipeline.elsewhere = Spread(links)
        service = Service("caxton.v1.Peer", links.add_to, is_for_nodes=True)
        ports = [Port("127.0.0.1:0", files)]
        for number in range(AGENTS):
            await node.deployments.deploy(
                f'name = "near{number}"\nkind = "python"\ncapabilities = ["load"]\n'
                f'handler = "loadtests.forwarding:Sink"\n[limits]\nmailbox = {MAILBOX}\n',
                AgentFormat.TOML,
            )
        async with open_grpc(ports, [service], message_bytes_max=8_000_000) as bound:
            chores = links.start(tasks)
            for number in range(peers):
                directory.see(Peer(f"peer{number}", "127.0.0.1:1", 1))
            try:
                yield node, links, bound[0][1]
            finally:
                for chore in chores:
                    chore.cancel()
                await links.close()


async def be_the_node(folder, peers, rate):
    """Carry the load, and tell what it took."""
    async with opened(folder, peers) as (node, links, port):
        tell({"port": port})
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while links.up_count < peers:
                await asyncio.sleep(0.01)
        names = [f"far{number % peers}-{number}" for number in range(AGENTS)]
        chance, tally = random.Random(1), forwarding.TALLY
        refused = []

        def send():
            message = a_message(node.new_id, chance.choice(names))
            try:
                node.pipeline.submit(message)
            except Unavailable:
                refused.append(message.id)

        await asyncio.to_thread(sys.stdin.readline)
        await evenly(rate, WARM_S, send)
        gc.collect()
        gc.freeze()
        tally.latencies.clear()
        tally.count = 0
        refused.clear()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        sent = await evenly(rate, SECONDS, send)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        latencies, arrived = list(tally.latencies), tally.count
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while node.store.backlog or len(node.pipeline.in_flight):
                await asyncio.sleep(0.01)
        tell(
            {
                "out_per_s": (sent - len(refused)) / took_s,
                "in_per_s": arrived / took_s,
                "cpu_share": cpu_s / took_s,
                "cpu_us_a_message": cpu_s / (sent + arrived) * 1e6,
                "refused": len(refused),
                "in": forwarding.quantiles(latencies),
            }
        )
        await asyncio.to_thread(sys.stdin.readline)


def tell(document):
    """Answer the parent."""
    print(json.dumps(document), flush=True)


# The peers.


class Emulated:
    """One peer: a link, and nothing behind it. Implements `LinkEvents` and what takes arrivals."""

    def __init__(self, number, peers):
        self.name = f"peer{number}"
        self.up_count = peers
        self.is_over = False
        self.ended_count = 0
        self.latencies = []
        self.new_id = id_factory(boot_token(time.time_ns() // 1_000_000, random.Random(number)))
        me = Self(node=self.name, epoch=time.time_ns() // 1_000_000, cluster="bench", version="1")
        self.link = Link(me, NODE, events=self, arrivals=self)

    async def serve(self, stream):
        """Be linked until the measurement is over."""
        try:
            await self.link.serve(stream)
        except LinkBroken:
            if not self.is_over:
                raise

    def send(self, receiver):
        """Send a message of a client of this peer."""
        message = a_message(self.new_id, receiver)
        self.link.send(Parcel(encode_message(message), message))

    def take(self, arrivals, origin, on_done):
        """Say of messages that they were delivered."""
        now_s = time.monotonic()
        for arrival in arrivals:
            self.latencies.append(now_s - arrival.message.metadata["sent"])
            origin.ended(arrival.sequence, DeliveryStatus.DELIVERED, None)
        on_done()

    async def take_doubtful(self, arrivals, origin, on_done):
        """Likewise."""
        self.take(arrivals, origin, on_done)

    def acked(self, _link, _parcels):
        """Nothing follows."""

    def ended(self, parcels, _status, _reason):
        """Count."""
        self.ended_count += len(parcels)

    def refused(self, parcel, code, detail):
        """Give up: the load is too high to mean anything."""
        raise RuntimeError(f"{parcel.cargo.receiver} refused: {code}: {detail}")

    def left_over(self, _link, _parcels):
        """Nothing was sent before."""

    def met(self, _link):
        """Nothing waits for it."""

    def changed(self, _link):
        """Nobody looks."""

    def registry(self, _node, _payload):
        """Nobody keeps one."""

    def echoed(self):
        """Nobody asked."""


async def be_the_peers(folder, peers, rate, child):
    """Link all peers with the node, exchange messages, and return the figures."""
    loop = asyncio.get_running_loop()

    async def hear():
        line = await loop.run_in_executor(None, child.stdout.readline)
        return json.loads(line) if line else {"error": "the node ended"}

    port = (await hear())["port"]
    emulated = [Emulated(number, peers) for number in range(peers)]
    channels = [
        open_channel(f"127.0.0.1:{port}", node=NODE, files=files_of(folder, one.name), options=())
        for one in emulated
    ]
    async with asyncio.TaskGroup() as tasks:
        serving = [
            tasks.create_task(one.serve(Called(channel)))
            for one, channel in zip(emulated, channels, strict=True)
        ]
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while not all(one.link.is_up for one in emulated):
                await asyncio.sleep(0.01)
        chance = random.Random(2)
        receivers = [f"near{number}" for number in range(AGENTS)]
        await asyncio.sleep(0.3)

        def go():
            child.stdin.write("go\n")
            child.stdin.flush()

        go()
        await evenly(rate, WARM_S, lambda: chance.choice(emulated).send(chance.choice(receivers)))
        for one in emulated:
            one.latencies.clear()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        await evenly(
            rate, SECONDS + 0.5, lambda: chance.choice(emulated).send(chance.choice(receivers))
        )
        cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - began_s)
        latencies = [one for each in emulated for one in each.latencies]
        told = await hear()
        for one in emulated:
            one.is_over = True
        go()
        for task in serving:
            task.cancel()
    return told | {"out": forwarding.quantiles(latencies), "cpu_share_of_peers": cpu_share}


def on_first_core():
    """Leave the last core to the peers."""
    os.sched_setaffinity(0, {0})


def run_place(place):
    """Run one place in two processes and return its figures."""
    peers, rate = (int(part) for part in place.split(":"))
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as name:
        folder = Path(name)
        certificates(folder, [NODE, *(f"peer{number}" for number in range(peers))])
        command = [sys.executable, "-m", "loadtests.scaling", "--node", name, str(peers), str(rate)]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=on_first_core,
        ) as child:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    figures = runner.run(be_the_peers(folder, peers, rate, child))
            finally:
                child.kill()
    return {"nodes": peers + 1, "rate": rate} | figures


def print_table(results):
    """Print a line a place."""
    print(f"{'nodes':>6}{'out/s':>9}{'in/s':>9}{'CPU':>6}{'µs':>6}{'p50/p99 out':>15}{'in':>15}")
    for row in results:
        if "error" in row:
            print(f"{row['nodes']:>6} {row['rate']}: {row['error']}")
            continue
        ways = "".join(
            f"{row[way]['p50_ms']:>7.1f}/{row[way]['p99_ms']:>7.1f}" for way in ("out", "in")
        )
        print(
            f"{row['nodes']:>6}{row['out_per_s']:>9,.0f}{row['in_per_s']:>9,.0f}"
            f"{row['cpu_share']:>6.0%}{row['cpu_us_a_message']:>6.1f}{ways}"
        )


def main(places):
    """Run the places and write what they gave."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.set_threshold(*COLLECT_EVERY)
    results = [run_place(place) for place in places or PLACES]
    print_table(results)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--node"]:
        gc.set_threshold(*COLLECT_EVERY)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        from loadtests import scaling

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scaling.be_the_node(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(sys.argv[1:])
