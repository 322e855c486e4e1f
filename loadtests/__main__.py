"""Every benchmark in turn: what `make bench` runs. Tables on the screen, JSON in build/bench."""

import subprocess
import sys

BENCHMARKS = (
    "loadtests.start",
    "loadtests.store",
    "loadtests.local",
    "loadtests.telemetry",
    "loadtests.memory",
    "loadtests.membership",
    "loadtests.forwarding",
    "loadtests.cluster",
    "loadtests.scaling",
    "loadtests.discovery",
    "loadtests.many_agents",
    "loadtests.registry",
    "loadtests.etcd",
    "loadtests.tool_choice",
    "loadtests.wasm",
)
TIMEOUT_S = 900

for module in BENCHMARKS:
    print(f"\n== {module}", flush=True)
    subprocess.run([sys.executable, "-m", module], check=True, timeout=TIMEOUT_S)
