"""Messages through a whole node, beside other runtimes, in one run.

    python -m loadtests.local            all scenarios, a table, build/bench/local.json
    python -m loadtests.local NAME …     only these

Every scenario is a process of its own. A message takes the whole way: validated, authorised,
journaled where its delivery asks for it, routed, delivered to a mailbox, and handled by an agent
in a turn. `one core` pins the process. The peers run in their own environment, `.venv-peers`,
made by `make bench`; without it their rows are left out, with a note.

Like is compared with like: what is told and not answered stands beside a message that AutoGen
publishes to one agent, and what is asked beside its `send_message`, which returns the answer. As
many are asked at a time on both sides. Neither side's handler does anything but count.
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
from pathlib import Path
from typing import Any

import uvloop

from caxton_node.agentfile import AgentFormat
from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.process import COLLECT_EVERY, SWITCH_INTERVAL_S

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCENARIO_TIMEOUT_S = 120
BACKLOG_MAX = 8_000

# Of what is counted as one message by every system: an inform with a small body, no answer.
ONE_WAY = 200_000


def scenarios() -> dict[str, dict[str, Any]]:
    """Return every scenario of ours by name."""
    return {
        "at_most_once, 1 agent, one core": {"mode": "at_most_once", "agents": 1, "cores": 1},
        "at_most_once, 100 agents, one core": {"mode": "at_most_once", "agents": 100, "cores": 1},
        "at_most_once, asked 64 at a time, one core": {
            "mode": "at_most_once",
            "agents": 1,
            "cores": 1,
            "count": 64 * 1_000,
            "asked_at_a_time": 64,
        },
        "at_most_once, asked one by one, one core": {
            "mode": "at_most_once",
            "agents": 1,
            "cores": 1,
            "count": 20_000,
            "asked_at_a_time": 1,
        },
        "at_least_once, synced, 1 agent": {"mode": "at_least_once", "agents": 1},
        "at_least_once, synced, 100 agents": {"mode": "at_least_once", "agents": 100},
        "at_least_once, synced, 25,000/s": {
            "mode": "at_least_once",
            "agents": 100,
            "rate": 25_000,
            "count": 100_000,
        },
        "1,000 agents answer 5,000/s": {
            "mode": "at_least_once",
            "agents": 1_000,
            "rate": 5_000,
            "count": 25_000,
            "is_answered": True,
        },
        "1,000 agents answer 5,000/s, at_most_once": {
            "mode": "at_most_once",
            "agents": 1_000,
            "rate": 5_000,
            "count": 25_000,
            "is_answered": True,
        },
    }


BESIDE = {
    "at_most_once, asked 64 at a time, one core": "AutoGen core, 64 sends at a time",
    "at_most_once, asked one by one, one core": "AutoGen core, request and answer",
}
"""Which of AutoGen's rows does the same as one of ours; for all others it is the first."""

PEERS = {
    "AutoGen core, one way": ("autogen_local.py", "one_way"),
    "AutoGen core, 64 sends at a time": ("autogen_local.py", "send"),
    "AutoGen core, request and answer": ("autogen_local.py", "ask"),
    "Pykka, one way": ("pykka_local.py", "one_way"),
    "Pykka, request and answer": ("pykka_local.py", "ask"),
}


class Tally:
    """What all sinks of a scenario counted. Not kept in a class: to set an attribute of one
    makes Python forget what it learnt about it, half a microsecond a message."""

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
            self.tally.latencies.append(time.perf_counter() - message.metadata["sent"])


class Answerer:
    """Answers every message."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return 42


async def run_scenario(
    *, mode, agents, rate=None, count=ONE_WAY, is_answered=False, asked_at_a_time=0
):
    """Run one scenario in this process and return its figures."""
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
        loaded = load_settings(
            flags={"node.data_dir": folder, "python.allow": "loadtests.*"},
            environment={},
            working_dir=Path(folder),
            home=Path(folder),
        )
        async with open_node(loaded, environment={}) as node:
            handler = "Answerer" if is_answered or asked_at_a_time else "Sink"
            for number in range(agents):
                await node.deployments.deploy(
                    f'name = "agent{number}"\nkind = "python"\ncapabilities = ["load"]\n'
                    f'handler = "loadtests.local:{handler}"\n[limits]\nmailbox = 100000\n',
                    AgentFormat.TOML,
                )
            gc.collect()
            gc.freeze()
            load = Load(node, mode=mode, agents=agents, is_answered=is_answered)
            started, cpu = time.perf_counter(), time.process_time()
            if asked_at_a_time:
                await load.in_rounds(count, asked_at_a_time)
            else:
                await (load.at_rate(count, rate) if rate else load.at_once(count))
            elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
            return figures(count, elapsed_s, cpu_s, load.latencies())


def figures(count, elapsed_s, cpu_s, latencies):
    """Return what is printed and written of a scenario."""
    result = {
        "messages": count,
        "per_second": count / elapsed_s,
        "cpu_us_per_message": cpu_s / count * 1e6,
    }
    if latencies:
        cuts = statistics.quantiles(latencies, n=1000)
        result |= {"p50_ms": cuts[499] * 1e3, "p99_ms": cuts[989] * 1e3, "p999_ms": cuts[998] * 1e3}
    return result


class Load:
    """Sends messages to a node and waits until all were handled."""

    def __init__(self, node, *, mode, agents, is_answered):
        self.node = node
        self.agents = agents
        self.receivers = [f"agent{number}" for number in range(agents)]
        self.mode = DeliveryMode(mode)
        self.act = Performative.REQUEST if is_answered else Performative.INFORM
        self.is_answered = is_answered
        self.sent = 0
        self.answered: list[float] = []

    def send(self, *, is_timed):
        """Send one message. Raises when the node is busy."""
        node = self.node
        message = Message(
            node.new_id("msg"),
            self.act,
            "client",
            self.receivers[self.sent % self.agents],
            b'{"action":"calculate","value":42}',
            node.new_id("conv"),
            delivery=self.mode,
            created_at=node.clock.now_ms(),
            metadata={"sent": time.perf_counter()} if is_timed else None,
        )
        if self.is_answered:
            self.wait_for_answer(message)
        node.pipeline.submit(message)
        self.sent += 1

    def wait_for_answer(self, message):
        waiting = self.node.answers.expect("client", message.id)
        answer = waiting.__enter__()
        sent = time.perf_counter()

        def answered(_):
            self.answered.append(time.perf_counter() - sent)
            waiting.__exit__(None, None, None)

        answer.add_done_callback(answered)

    async def ask(self):
        """Ask one question and return its answer, as a client's edge does."""
        node = self.node
        question = Message(
            node.new_id("msg"),
            Performative.REQUEST,
            "client",
            self.receivers[self.sent % self.agents],
            b'{"action":"calculate","value":42}',
            node.new_id("conv"),
            delivery=self.mode,
            created_at=node.clock.now_ms(),
        )
        self.sent += 1
        with node.answers.expect("client", question.id) as answer:
            node.pipeline.submit(question)
            return await answer

    async def in_rounds(self, count, at_a_time):
        """Ask so many at a time, and go on when all are answered."""
        while self.sent < count:
            if at_a_time == 1:
                await self.ask()
            else:
                await asyncio.gather(*(self.ask() for _ in range(at_a_time)))

    def done(self):
        return len(self.answered) if self.is_answered else TALLY.count

    def latencies(self):
        return self.answered or TALLY.latencies

    async def at_once(self, count):
        """As fast as the node takes them."""
        while self.sent < count:
            for _ in range(min(64, count - self.sent)):
                self.send(is_timed=False)
            await asyncio.sleep(0)
            while self.node.store.backlog > BACKLOG_MAX:
                await asyncio.sleep(0.001)
        await self.all_done(count)

    async def at_rate(self, count, rate):
        """At an even rate, without waiting for answers."""
        started = time.perf_counter()
        while self.sent < count:
            due = min(int((time.perf_counter() - started) * rate), count)
            while self.sent < due:
                self.send(is_timed=not self.is_answered)
            await asyncio.sleep(0.001)
        await self.all_done(count)

    async def all_done(self, count):
        while self.done() < count or self.node.store.backlog:
            await asyncio.sleep(0.001)


def fdatasync_ms() -> float:
    """Return the median time of one synced append of 4 KiB: the physical limit of a commit."""
    with tempfile.NamedTemporaryFile(dir=tempfile.gettempdir()) as file:
        times = []
        for _ in range(300):
            started = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def run_process(command: list[str], cores: int | None) -> dict[str, Any]:
    """Run one scenario in a process of its own and return its figures."""
    pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if cores == 1 else None
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SCENARIO_TIMEOUT_S,
        preexec_fn=pin,
        check=False,
    )
    if done.returncode != 0:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr else "failed"}
    return json.loads(done.stdout.splitlines()[-1])


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print all rows with their ratio to the row of AutoGen that does the same."""
    print(f"{'':44}{'msg/s':>10}{'× AutoGen':>11}{'CPU µs':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for name, row in results.items():
        if "error" in row:
            print(f"{name:44}{row['error']}")
            continue
        beside = results.get(BESIDE.get(name, next(iter(PEERS))), {}).get("per_second")
        ratio = f"{row['per_second'] / beside:,.1f}" if beside and name not in PEERS else "–"
        print(
            f"{name:44}{row['per_second']:>10,.0f}{ratio:>11}{row['cpu_us_per_message']:>8.1f}"
            + "".join(
                f"{row[key]:>8.2f}" if key in row else f"{'':>8}" for key in ("p50_ms", "p99_ms")
            )
        )


def main(names: list[str]) -> None:
    """Run the scenarios and write what they gave."""
    results: dict[str, dict[str, Any]] = {}
    for name, options in scenarios().items():
        if not names or name in names:
            cores = options.pop("cores", None)
            command = [sys.executable, "-m", "loadtests.local", "--scenario", json.dumps(options)]
            results[name] = run_process(command, cores)
    for name, (script, scenario) in PEERS.items():
        if names and name not in names:
            continue
        if not PEER_PYTHON.exists():
            results[name] = {"error": "left out: `make bench` installs the peers"}
            continue
        command = [str(PEER_PYTHON), str(ROOT / "loadtests" / "peers" / script), scenario]
        results[name] = run_process(command, 1)
    limit = fdatasync_ms()
    print_table(results)
    print(f"one fdatasync of 4 KiB: {limit:.2f} ms (median of 300)")
    target = ROOT / "build" / "bench" / "local.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"results": results, "fdatasync_ms": limit}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--scenario"]:
        from loadtests import local

        gc.set_threshold(*COLLECT_EVERY)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(local.run_scenario(**json.loads(sys.argv[2])))))
    else:
        main(sys.argv[1:])
