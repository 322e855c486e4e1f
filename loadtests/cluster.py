"""Messages between two processes, beside the systems that one would use instead, in one run.

    python -m loadtests.cluster            all, a table, build/bench/cluster.json
    python -m loadtests.cluster ours …     only rows whose names begin so

Ours go over mTLS through the whole pipeline of both nodes (`loadtests.forwarding`). The peers do
the same work as their own documentation does it, without encryption, each half pinned to one core
as ours are; a broker or a host shares the receiver's core. `durable` means what each system means
by it: ours is synced by both nodes before the message counts, JetStream's is in files that its
server syncs every two minutes, Redis' as its name says. What is not installed is left out, with a
note: `make bench` installs the Python peers, Debian has `nats-server` and `redis-server`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from loadtests import forwarding

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = ROOT / "loadtests" / "peers"
PEER_TIMEOUT_S = 130

OURS = {
    "ours, one way": "one way, at_most_once",
    "ours, one way, durable": "one way, at_least_once",
    "ours, ask": "question and answer, at_most_once",
    "ours, ask, durable": "question and answer, at_least_once",
    "ours, ask, 64 at once": "64 questions at a time, at_most_once",
    "ours, ask, 64 at once, durable": "64 questions at a time, at_least_once",
}

THEIRS = {
    "NATS core, one way": ("nats_pair.py", "one_way"),
    "NATS JetStream, one way, durable": ("nats_pair.py", "durable"),
    "NATS core, ask": ("nats_pair.py", "ask"),
    "NATS core, ask, 64 at once": ("nats_pair.py", "ask64"),
    "Redis streams, one way, everysec": ("redis_pair.py", "everysec"),
    "Redis streams, one way, always": ("redis_pair.py", "always"),
    "Redis streams, ask": ("redis_pair.py", "ask"),
    "Redis streams, ask, 64 at once": ("redis_pair.py", "ask64"),
    "AutoGen gRPC, one way": ("autogen_pair.py", "one_way"),
    "AutoGen gRPC, ask": ("autogen_pair.py", "ask"),
    "AutoGen gRPC, ask, 64 at once": ("autogen_pair.py", "ask64"),
    "Ray actors, one way": ("ray_pair.py", "one_way"),
    "Ray actors, ask": ("ray_pair.py", "ask"),
    "Ray actors, ask, 64 at once": ("ray_pair.py", "ask64"),
    "SPADE, one way": ("spade_pair.py", "one_way"),
    "SPADE, ask": ("spade_pair.py", "ask"),
    "SPADE, ask, 64 at once": ("spade_pair.py", "ask64"),
}

SERVERS = {"nats_pair.py": "nats-server", "redis_pair.py": "redis-server"}

LIKE = {
    ", one way, durable": "ours, one way, durable",
    ", one way, everysec": "ours, one way, durable",
    ", one way, always": "ours, one way, durable",
    ", one way": "ours, one way",
    ", ask, 64 at once": "ours, ask, 64 at once",
    ", ask": "ours, ask",
}
"""How a peer's name ends → the row of ours that does the same work."""


def run_peer(script, scenario):
    """Run a peer's script in its own environment and return its figures."""
    if not PEER_PYTHON.exists():
        return {"error": "left out: `make bench` installs the peers"}
    server = SERVERS.get(script)
    if server is not None and shutil.which(server, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return {"error": f"left out: {server} is not installed"}
    done = subprocess.run(
        [str(PEER_PYTHON), str(PEERS / script), scenario],
        cwd=PEERS,
        capture_output=True,
        text=True,
        timeout=PEER_TIMEOUT_S,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        told = done.stderr.strip().splitlines()
        return {"error": told[-1][:100] if told else "failed"}
    return json.loads(lines[-1])


def print_table(results):
    """Print all rows; a peer's with how many times as many messages ours carries."""
    print(f"{'':36}{'msg/s':>10}{'ours ×':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for name, row in results.items():
        if "error" in row:
            print(f"{name:36}{row['error']}")
            continue
        own = next((results.get(ours) for end, ours in LIKE.items() if name.endswith(end)), None)
        is_compared = not name.startswith("ours") and own is not None and "error" not in own
        ratio = f"{own['per_second'] / row['per_second']:,.1f}" if is_compared else ""
        print(
            f"{name:36}{row['per_second']:>10,.0f}{ratio:>9}"
            + "".join(
                f"{row[key]:>9.2f}" if key in row else f"{'':>9}" for key in ("p50_ms", "p99_ms")
            )
        )


def main(beginnings):
    """Run all rows, or those asked for, and write what they gave."""

    def is_wanted(name):
        return not beginnings or any(name.startswith(one) for one in beginnings)

    own = forwarding.scenarios()
    results = {}
    for name, scenario in OURS.items():
        if is_wanted(name):
            results[name] = forwarding.run_pair(own[scenario], is_plain=False)
    for name, (script, scenario) in THEIRS.items():
        if is_wanted(name):
            results[name] = run_peer(script, scenario)
    print_table(results)
    target = ROOT / "build" / "bench" / "cluster.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
