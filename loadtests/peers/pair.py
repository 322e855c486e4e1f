"""What every benchmark of a pair of processes shares: cores, the other process, the figures.

A script names its scenarios and runs one of them; the sender is the process that was started, the
receiver is the same script started again with `--receiver`. Each has a core of its own where
there are two. Servers that a system needs (a broker, a host) share the receiver's core.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time

BODY = json.dumps(
    {
        "performative": "request",
        "sender": "client",
        "receiver": "agent",
        "conversation_id": "conv-0001",
        "content": {"action": "calculate", "text": "x" * 160},
    }
).encode()
"""One message of every system: 300 bytes."""

START_TIMEOUT_S = 30.0


def cores():
    """Return the cores of the sender and of the receiver; the same one where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def on_core(core):
    """Return what pins a child to a core before it starts."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def child(command, cwd=None):
    """Run a process on the receiver's core for as long as the block runs."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=on_core(cores()[1]),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def receiver(script, *arguments):
    """Run the receiving half of `script`."""
    return child([sys.executable, script, "--receiver", *arguments])


def wait_for_port(port):
    """Return once somebody listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


def pin_sender():
    """Keep this process to the sender's core."""
    os.sched_setaffinity(0, {cores()[0]})


def print_rate(count, elapsed_s, **more):
    """Print the figures of messages in one direction."""
    print(json.dumps({"messages": count, "per_second": count / elapsed_s, **more}))


def print_answers(latencies_s, elapsed_s):
    """Print the figures of questions with their answers."""
    cuts = statistics.quantiles(latencies_s, n=1000)
    print(
        json.dumps(
            {
                "messages": len(latencies_s),
                "per_second": len(latencies_s) / elapsed_s,
                "p50_ms": cuts[499] * 1e3,
                "p99_ms": cuts[989] * 1e3,
            }
        )
    )


async def ask_many(ask, *, count, at_once):
    """Ask `count` questions, `at_once` under way at any time; return times and the whole time."""
    import asyncio

    latencies = []
    left = iter(range(count))

    async def asker():
        for _ in left:
            begun = time.perf_counter()
            await ask()
            latencies.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(asker() for _ in range(at_once)))
    return latencies, time.perf_counter() - started
