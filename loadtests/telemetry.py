"""What tracing and metrics cost a message on its whole way through a node.

    python -m loadtests.telemetry        a table and build/bench/telemetry.json

One process, one node, one agent that counts, messages sent at most once: CPU time of the process
for a message, in rounds of 8,000, the variants by turns. A variant costs what it takes more than a
message without a trace, round by round, and the median of that: a machine that grows slower
meanwhile does not count.

What is recorded is made and queued, as in a node that exports, and then thrown away: the export
runs on a thread of its own. Metrics are timed by themselves: the statements that a journaled
message and its turn run through, as often as it does.
"""

import asyncio
import gc
import json
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from caxton_node.agentfile import AgentFormat
from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.process import COLLECT_EVERY, SWITCH_INTERVAL_S
from caxton_node.telemetry.message_spans import begin_send
from caxton_node.telemetry.trace import new_trace

ROOT = Path(__file__).parent.parent
MESSAGES = 8_000
ROUNDS = 40
VARIANTS = ("no traceparent", "0 % recorded", "1 % recorded", "10 % recorded", "100 % recorded")
METRICS_TIMES = 200_000


class Sink:
    """Takes messages and says nothing."""

    count = 0

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        Sink.count += 1


def traceparents(variant):
    """Return what the messages of a round carry, made before the clock runs."""
    if variant == "no traceparent":
        return [None] * MESSAGES
    every = {"0": 0, "1": 100, "10": 10, "100": 1}[variant.split()[0]]
    return [
        new_trace(1.0 if every and number % every == 0 else 0.0).traceparent
        for number in range(MESSAGES)
    ]


async def round_of(node, variant):
    """Send one round and return its CPU time a message, in microseconds."""
    carried = traceparents(variant)
    goal = Sink.count + MESSAGES
    started = time.process_time()
    for start in range(0, MESSAGES, 64):
        for traceparent in carried[start : start + 64]:
            message = Message(
                node.new_id("msg"),
                Performative.INFORM,
                "client",
                "agent",
                b'{"action":"calculate","value":42}',
                node.new_id("conv"),
                delivery=DeliveryMode.AT_MOST_ONCE,
                created_at=node.clock.now_ms(),
                traceparent=traceparent,
            )
            message, span = begin_send(node.tracing, message)
            with span:
                node.pipeline.submit(message)
        await asyncio.sleep(0)
    while Sink.count < goal or node.store.backlog:
        await asyncio.sleep(0.0005)
    took_us = (time.process_time() - started) / MESSAGES * 1e6
    node.tracing.finished.clear()
    return took_us


def metrics_us(node):
    """Return what counting costs a journaled message and its turn, in microseconds."""
    counts, message = node.counts, Message("id", Performative.INFORM, "client", created_at=1_000)
    time_message, turn_s = node.pipeline._time, counts.turn_s
    started = time.process_time()
    for now_ms in range(1_000, 1_000 + METRICS_TIMES):
        counts.messages_accepted += 1
        counts.messages_delivered += 1
        counts.turns_finished += 1
        time_message(message, now_ms)
        turn_s.observe((now_ms - 1_000) / 1000)
    return (time.process_time() - started) / METRICS_TIMES * 1e6


async def measure():
    """Return the CPU times of all rounds by variant, and what metrics cost."""
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
        loaded = load_settings(
            flags={
                "node.data_dir": folder,
                "node.synced": "false",
                "python.allow": "loadtests.*",
                "memory.enabled": "false",
            },
            environment={},
            working_dir=Path(folder),
            home=Path(folder),
        )
        async with open_node(loaded, environment={}) as node:
            # As in a node that exports, without its thread.
            node.tracing.is_recording = True
            await node.deployments.deploy(
                'name = "agent"\nkind = "python"\ncapabilities = ["load"]\n'
                'handler = "loadtests.telemetry:Sink"\n[limits]\nmailbox = 100000\n',
                AgentFormat.TOML,
            )
            gc.collect()
            gc.freeze()
            times = {variant: [] for variant in VARIANTS}
            for number in range(ROUNDS + 2):
                for variant, taken in times.items():
                    took_us = await round_of(node, variant)
                    if number >= 2:
                        taken.append(took_us)
            return times, min(metrics_us(node) for _ in range(5))


def main():
    """Measure, print and write."""
    import sys

    gc.set_threshold(*COLLECT_EVERY)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        times, counting_us = runner.run(measure())
    plain = times["no traceparent"]
    rows = {}
    for variant, taken in times.items():
        extra = statistics.median(a - b for a, b in zip(taken, plain, strict=True))
        rows[variant] = {"cpu_us": statistics.median(taken), "extra_us": extra}
        print(f"{variant:20}{rows[variant]['cpu_us']:8.2f} µs{extra:+8.2f} µs")
    rows["all metrics"] = {"extra_us": counting_us}
    print(f"{'all metrics':31}{counting_us:+8.2f} µs")
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "telemetry.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    # The agent's class is found by this module's name, and has to be the one that counts.
    from loadtests.telemetry import main as run

    run()
