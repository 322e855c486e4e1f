"""How long programs take to begin, and how much an idle node weighs.

    python -m loadtests.start

Each is a real process, several times; medians are printed and written to build/bench/start.json.
The bare interpreter is measured in the same run: what no Python program can be quicker than.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
RUNS = 7
READY_TIMEOUT_S = 20


def run_ms(*command: str) -> float:
    """Return how long a command takes, in milliseconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return (time.perf_counter() - started) * 1e3


def node_ms_and_mb() -> tuple[float, float]:
    """Return how long a node takes to say that it is ready, and its resident memory then."""
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [
                *(str(PROGRAMS / "caxton-node"), "--data-dir", folder),
                *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        ready_ms = (time.perf_counter() - started) * 1e3
        assert " ready at " in line
        status = Path(f"/proc/{process.pid}/status")
        pages = [row for row in status.read_text().splitlines() if row.startswith("VmRSS")]
        process.send_signal(signal.SIGTERM)
        process.wait(READY_TIMEOUT_S)
        return ready_ms, int(pages[0].split()[1]) / 1024


def main() -> None:
    """Measure, print, write."""
    caxton = str(PROGRAMS / "caxton")
    bare = statistics.median(run_ms(sys.executable, "-c", "pass") for _ in range(RUNS))
    rows = {
        "python -c pass": bare,
        "caxton --help": statistics.median(run_ms(caxton, "--help") for _ in range(RUNS)),
        "caxton version": statistics.median(run_ms(caxton, "version") for _ in range(RUNS)),
    }
    nodes = [node_ms_and_mb() for _ in range(RUNS)]
    rows["caxton-node ready"] = statistics.median(ready for ready, _ in nodes)
    memory_mb = statistics.median(mb for _, mb in nodes)
    print(f"{'':24}{'ms':>8}{'× python':>10}")
    for name, milliseconds in rows.items():
        print(f"{name:24}{milliseconds:>8.0f}{milliseconds / bare:>10.1f}")
    print(f"{'idle node, resident':24}{memory_mb:>8.0f} MB")
    target = ROOT / "build" / "bench" / "start.json"
    os.makedirs(target.parent, exist_ok=True)
    target.write_text(json.dumps({"median_ms": rows, "idle_mb": memory_mb}, indent=2))


if __name__ == "__main__":
    main()
