"""Messages from node to node over mTLS, through the whole pipeline of both.

    python -m loadtests.forwarding            all scenarios, a table, build/bench/forwarding.json
    python -m loadtests.forwarding NAME …     only these
    python -m loadtests.forwarding --plain …  without TLS

Two processes, each pinned to one core (the writer's thread of the store with it). A message is
validated, routed, journaled where its delivery asks for it, framed, encrypted, taken apart, routed,
journaled again and handled by an agent in a turn; its end is reported back and written. A scenario
ends when the receiver has handled everything and the sender's journal has every end. `frames` is
how many frames the sender wrote; a frame costs about as much as fifty messages.
"""

import asyncio
import gc
import json
import os
import statistics
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
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.links import Links, Self
from caxton_node.forwarding.peers import Peer, PeerDirectory
from caxton_node.forwarding.remote_agent import RemoteAgent
from caxton_node.grpc_api.server import Port, Service, open_grpc
from caxton_node.process import COLLECT_EVERY, SWITCH_INTERVAL_S
from caxton_node.routing.elsewhere import Nowhere
from caxton_node.routing.waiting import answer_within
from caxton_node.security.authority import make_authority, read_authority
from caxton_node.security.tls_files import TlsFiles

ROOT = Path(__file__).parent.parent
AGENTS = 100
MAILBOX = 100_000
SENDER, RECEIVER = "bench-a", "bench-b"
CONTENT = b'{"action":"calculate","value":42,"text":"' + b"x" * 160 + b'"}'
START_TIMEOUT_S = 20.0
SCENARIO_TIMEOUT_S = 100


def scenarios():
    """Return every scenario by name."""
    most, least = "at_most_once", "at_least_once"
    return {
        "one way, at_most_once": {"mode": most, "count": 300_000},
        "one way, at_least_once": {"mode": least, "count": 150_000},
        "one way, at_least_once, 17,000/s": {"mode": least, "count": 85_000, "rate": 17_000},
        "one way, at_most_once, 30,000/s": {"mode": most, "count": 150_000, "rate": 30_000},
        "question and answer, at_most_once": {"mode": most, "count": 5_000, "at_once": 1},
        "question and answer, at_least_once": {"mode": least, "count": 3_000, "at_once": 1},
        "question and answer, at_most_once, 15,000/s": {
            "mode": most,
            "count": 60_000,
            "asked_rate": 15_000,
        },
        "question and answer, at_least_once, 2,500/s": {
            "mode": least,
            "count": 20_000,
            "asked_rate": 2_500,
        },
        "64 questions at a time, at_most_once": {"mode": most, "count": 100_000, "at_once": 64},
        "64 questions at a time, at_least_once": {"mode": least, "count": 50_000, "at_once": 64},
    }


class Tally:
    """What the receiver's agents counted."""

    def __init__(self):
        self.count = 0
        self.latencies = []


TALLY = Tally()


class Sink:
    """Takes messages and says nothing; notes how long each was on its way."""

    def __init__(self, parameters):
        self.tally = TALLY

    async def handle(self, message, context):
        self.tally.count += 1
        if message.metadata is not None:
            self.tally.latencies.append(time.monotonic() - message.metadata["sent"])


class Answerer:
    """Answers every message."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return 42


class Teller:
    """Tells what the other agents counted, and the time this process used."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        told = {"count": TALLY.count, "cpu_s": time.process_time()}
        if message.body() == "begin":
            TALLY.count = 0
            TALLY.latencies.clear()
            gc.collect()
            gc.freeze()
        if message.body() == "end" and len(TALLY.latencies) > 1:
            told["latencies"] = quantiles(TALLY.latencies)
        return told


class Fixed(Nowhere):
    """Every agent is on the other node."""

    def __init__(self, links, node):
        self.links, self.node = links, node
        self.inboxes_by_name = {}

    def inbox(self, agent):
        found = self.inboxes_by_name.get(agent)
        if found is None and agent.startswith("agent"):
            found = self.links.inbox(self.node, RemoteAgent(name=agent, mailbox=MAILBOX))
            self.inboxes_by_name[agent] = found
        return found

    def client(self, node):
        return self.links.client(node) if node == self.node else None


def quantiles(latencies_s):
    """Return p50, p99 and p99.9 in milliseconds."""
    cuts = statistics.quantiles(latencies_s, n=1000)
    return {"p50_ms": cuts[499] * 1e3, "p99_ms": cuts[989] * 1e3, "p999_ms": cuts[998] * 1e3}


def make_certificates(folder):
    """Make an authority and a certificate for each of the two nodes."""
    now = datetime.now(UTC)
    root = make_authority("bench", now=now)
    (folder / "ca.crt").write_bytes(root.certificate)
    authority = read_authority(root.certificate, root.key)
    for node in (SENDER, RECEIVER):
        issued = authority.issue("node", node, hosts=("127.0.0.1",), now=now)
        (folder / f"{node}.crt").write_bytes(issued.certificate)
        (folder / f"{node}.key").write_bytes(issued.key)
        (folder / f"{node}.key").chmod(0o600)


@asynccontextmanager
async def bench_node(folder, node, other, other_address):
    """Open a node that is linked to another one."""
    files = None
    if (folder / "ca.crt").exists():
        files = TlsFiles(
            authority=folder / "ca.crt",
            certificate=folder / f"{node}.crt",
            key=folder / f"{node}.key",
            node=node,
        )
    loaded = load_settings(
        flags={
            "node.data_dir": str(folder / node),
            "node.name": node,
            "python.allow": "loadtests.*",
        },
        environment={},
        working_dir=folder,
        home=folder,
    )
    async with open_node(loaded, environment={}) as opened, asyncio.TaskGroup() as tasks:
        peers = PeerDirectory()
        me = Self(node=node, epoch=time.time_ns() // 1_000_000, cluster="bench", version="1")
        links = Links(me=me, peers=peers, pipeline=opened.pipeline, files=files)
        opened.pipeline.elsewhere = Fixed(links, other)
        service = Service("caxton.v1.Peer", links.add_to, is_for_nodes=True)
        ports = [Port("127.0.0.1:0", files)]
        async with open_grpc(ports, [service], message_bytes_max=8_000_000) as bound:
            chores = links.start(tasks)
            await asyncio.sleep(0)
            if other_address is not None:
                peers.see(Peer(other, other_address, 1))
            try:
                yield opened, links, bound[0][1]
            finally:
                for chore in chores:
                    chore.cancel()
                await links.close()


async def receive(folder):
    """Be the receiving node until stdin is closed."""
    async with bench_node(folder, RECEIVER, SENDER, None) as (node, _, port):
        kinds = {"agent-tell": "Teller"} | {f"agent{n}": "Sink" for n in range(AGENTS)}
        kinds |= {f"agent-answer{n}": "Answerer" for n in range(AGENTS)}
        for name, handler in kinds.items():
            await node.deployments.deploy(
                f'name = "{name}"\nkind = "python"\ncapabilities = ["load"]\n'
                f'handler = "loadtests.forwarding:{handler}"\n[limits]\nmailbox = {MAILBOX}\n',
                AgentFormat.TOML,
            )
        gc.collect()
        gc.freeze()
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


class Load:
    """Sends messages to the other node."""

    def __init__(self, node, mode):
        self.node = node
        self.mode = DeliveryMode(mode)
        self.sent = 0

    def message(self, receiver, act, content, *, is_timed=False):
        node = self.node
        return Message(
            node.new_id("msg"),
            act,
            "client",
            receiver,
            content,
            node.new_id("conv"),
            delivery=self.mode,
            created_at=node.clock.now_ms(),
            metadata={"sent": time.monotonic()} if is_timed else None,
        )

    def send(self, *, is_timed=False):
        receiver = f"agent{self.sent % AGENTS}"
        self.node.pipeline.submit(
            self.message(receiver, Performative.INFORM, CONTENT, is_timed=is_timed)
        )
        self.sent += 1

    async def ask(self, receiver, content):
        question = self.message(receiver, Performative.REQUEST, content)
        with self.node.answers.expect("client", question.id) as answer:
            self.node.pipeline.submit(question)
            return await answer_within(answer, 10.0)

    async def at_once(self, count):
        """As fast as the node takes them."""
        while self.sent < count:
            try:
                for _ in range(min(64, count - self.sent)):
                    self.send()
            except Unavailable:
                await asyncio.sleep(0.002)
            await asyncio.sleep(0)
            while self.node.store.backlog > 8_000:
                await asyncio.sleep(0.001)

    async def at_rate(self, count, rate):
        """At an even rate."""
        started = time.perf_counter()
        while self.sent < count:
            due = min(int((time.perf_counter() - started) * rate), count)
            while self.sent < due:
                self.send(is_timed=True)
            await asyncio.sleep(0.001)

    async def questions(self, count, at_once):
        """Ask `at_once` questions at a time, and return how long each took."""
        latencies = []

        async def asker(number):
            while self.sent < count:
                self.sent += 1
                began = time.perf_counter()
                await self.ask(f"agent-answer{number % AGENTS}", CONTENT)
                latencies.append(time.perf_counter() - began)

        async with asyncio.TaskGroup() as tasks:
            for number in range(at_once):
                tasks.create_task(asker(number))
        return latencies

    async def questions_at_rate(self, count, rate):
        """Ask at an even rate, however many are open, and return how long each took."""
        latencies = []

        async def ask(number):
            began = time.perf_counter()
            await self.ask(f"agent-answer{number % AGENTS}", CONTENT)
            latencies.append(time.perf_counter() - began)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            while self.sent < count:
                due = min(int((time.perf_counter() - started) * rate), count)
                while self.sent < due:
                    tasks.create_task(ask(self.sent))
                    self.sent += 1
                await asyncio.sleep(0.001)
        return latencies


async def tell(load, word):
    return (await load.ask("agent-tell", encode_content(word))).body()


async def all_done(load, count, *, is_answered):
    """Wait until everything was handled there and has its end here; return what is told."""
    while not is_answered and (await tell(load, "count"))["count"] < count:
        await asyncio.sleep(0.005)
    while load.node.store.backlog or load.node.pipeline.in_flight:
        await asyncio.sleep(0.001)
    return await tell(load, "end")


async def run_scenario(folder, port, *, mode, count, rate=None, at_once=None, asked_rate=None):
    """Run one scenario as the sending node and return its figures."""
    async with bench_node(folder, SENDER, RECEIVER, f"127.0.0.1:{port}") as (node, links, _):
        async with asyncio.timeout(START_TIMEOUT_S):
            while not links.is_up(RECEIVER):
                await asyncio.sleep(0.01)
        load = Load(node, mode)
        for _ in range(200):
            await load.ask("agent-answer0", CONTENT)
        before = await tell(load, "begin")
        gc.collect()
        gc.freeze()
        load.sent = 0
        frames = links._links[RECEIVER].machine.outbox._number
        started, cpu_s = time.perf_counter(), time.process_time()
        latencies = []
        if at_once is not None:
            latencies = await load.questions(count, at_once)
        elif asked_rate is not None:
            latencies = await load.questions_at_rate(count, asked_rate)
        elif rate is not None:
            await load.at_rate(count, rate)
        else:
            await load.at_once(count)
        after = await all_done(load, count, is_answered=bool(latencies))
        elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
        return {
            "messages": count,
            "per_second": count / elapsed_s,
            "cpu_us_sender": cpu_s / count * 1e6,
            "cpu_us_receiver": (after["cpu_s"] - before["cpu_s"]) / count * 1e6,
            "frames": links._links[RECEIVER].machine.outbox._number - frames,
        } | (quantiles(latencies) if latencies else after.get("latencies", {}))


def pinned(core):
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[min(core, len(cores) - 1)]})


def run_pair(options, *, is_plain):
    """Run one scenario in two processes and return its figures."""
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as name:
        folder = Path(name)
        if not is_plain:
            make_certificates(folder)
        command = [sys.executable, "-m", "loadtests.forwarding"]
        with subprocess.Popen(
            [*command, "--receive", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(1),
        ) as receiver:
            try:
                port = int(receiver.stdout.readline())
                done = subprocess.run(
                    [*command, "--send", name, str(port), json.dumps(options)],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    timeout=SCENARIO_TIMEOUT_S,
                    preexec_fn=pinned(0),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return {"error": f"not done within {SCENARIO_TIMEOUT_S} s"}
            finally:
                receiver.stdin.close()
        if done.returncode != 0:
            return {"error": done.stderr.strip().splitlines()[-1] if done.stderr else "failed"}
        return json.loads(done.stdout.splitlines()[-1])


def print_table(results):
    heads = ("msg/s", "µs out", "µs in", "frames", "p50 ms", "p99 ms")
    keys = ("per_second", "cpu_us_sender", "cpu_us_receiver", "frames", "p50_ms", "p99_ms")
    print(f"{'':40}" + "".join(f"{head:>10}" for head in heads))
    for name, row in results.items():
        if "error" in row:
            print(f"{name:40}{row['error']}")
            continue
        cells = [
            f"{row[key]:>10,.{0 if row[key] > 100 else 2}f}" if key in row else "" for key in keys
        ]
        print(f"{name:40}" + "".join(cells))


def main(names):
    """Run the scenarios and write what they gave."""
    is_plain = "--plain" in names
    names = [name for name in names if name != "--plain"]
    results = {
        name: run_pair(options, is_plain=is_plain)
        for name, options in scenarios().items()
        if not names or name in names
    }
    print_table(results)
    target = ROOT / "build" / "bench" / "forwarding.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"results": results, "is_encrypted": not is_plain}, indent=2))


def run_half(words):
    """Be one of the two processes."""
    from loadtests import forwarding

    gc.set_threshold(*COLLECT_EVERY)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    folder = Path(words[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if words[0] == "--receive":
            runner.run(forwarding.receive(folder))
        else:
            options = json.loads(words[3])
            print(json.dumps(runner.run(forwarding.run_scenario(folder, int(words[2]), **options))))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--receive"], ["--send"]):
        run_half(sys.argv[1:])
    else:
        main(sys.argv[1:])
