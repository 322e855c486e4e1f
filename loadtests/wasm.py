"""What guests in WebAssembly cost, beside a native callable and a server in a process of its own.

    python -m loadtests.wasm [--quick] [--only PART,…] [--json FILE]

Starts, memory and calls by language; messages through a whole sandbox, shared and in a worker; many
sandboxes alive, many asleep at once; a runaway guest stopped; a new version under load. All in one
run, so that the ratios hold whatever the machine does besides.
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from caxton_node.domain.wasm import GuestLimits, InstancePolicy
from caxton_node.wasm.admission import admit_component, admit_core
from caxton_node.wasm.binary import count_sections
from caxton_node.wasm.box import Plan
from caxton_node.wasm.compiling import Compiler
from caxton_node.wasm.configuration import fingerprint
from caxton_node.wasm.errors import OverLimit
from caxton_node.wasm.programs import Programs, open_programs
from caxton_node.wasm.shapes import Shape
from caxton_node.wasm.surroundings import Surroundings
from caxton_node.wasm.workers import WorkerPool
from tests import wasm_guests
from tests.opened_node import ask, deploy, opened_node

GUESTS = Path(__file__).resolve().parent.parent / "examples" / "guests"
LANGUAGES = {
    "c": "c/echo/echo.wasm",
    "rust": "rust/counter/counter.wasm",
    "assemblyscript": "assemblyscript/echo/as-echo.wasm",
    "go": "go/word-count/word-count.wasm",
    "js": "js/calculator/js-calculator.wasm",
    "python": "python/text-tools/text-tools.wasm",
}
TOOL_CALLS = {
    "js/calculator/js-calculator.wasm": b'{"name":"hypotenuse","arguments":{"numbers":[3,4]}}',
    "python/text-tools/text-tools.wasm": b'{"name":"without_accents","arguments":{"text":"caf"}}',
}
"""What the guests that are servers are called with."""
MESSAGE = (
    b'{"id":"msg-1","performative":"request","sender":"client","receiver":"Echo",'
    b'"conversation_id":"conv-1","created_at":1,"content":{"text":"the cat sat on the mat"}}'
)
LIMITS = GuestLimits(memory_bytes=256_000_000, time_s=30.0, cpu_s=20.0)


async def nobody(*_: object) -> bytes:
    return b'{"error":{"code":"denied","message":"nobody is there"}}'


def surroundings() -> Surroundings:
    return Surroundings(ask_host=nobody, log=lambda *_: None)


class Bench:
    """The parts that every measurement needs."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.programs = programs
        prints = (fingerprint(is_metered=False), fingerprint(is_metered=True))
        self.compiler = Compiler(folder / "compiled", prints)

    async def compiled(self, data: bytes) -> tuple[Path, Shape, float]:
        digest = hashlib.sha256(data).hexdigest()
        source = self.folder / f"{digest}.wasm"
        source.write_bytes(data)
        started = time.perf_counter()
        made = await self.compiler.compile(source, digest, is_metered=False)
        took_s = time.perf_counter() - started
        admit = admit_component if count_sections(data).is_component else admit_core
        return made.file, admit(made.imports, made.exports), took_s

    def sandbox(self, file: Path, shape: Shape, limits: GuestLimits = LIMITS) -> Any:
        return self.programs.sandbox(
            str(file), shape, surroundings(), limits, policy=InstancePolicy.KEPT, snapshot=None
        )


def pss_kb() -> int:
    """Return this process's share of memory, in kB."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def resident_kb(pid: int) -> int:
    """Return the resident memory of a process, in kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


async def timed(count: int, call: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Call again and again; return the times in microseconds."""
    taken = []
    started = time.perf_counter()
    for _ in range(count):
        before = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - before) * 1e6)
    elapsed = time.perf_counter() - started
    taken.sort()
    return {
        "p50_us": round(statistics.median(taken), 1),
        "p99_us": round(taken[int(len(taken) * 0.99)], 1),
        "per_s": round(count / elapsed),
    }


async def language(bench: Bench, file: str, quick: bool) -> dict[str, Any]:
    """Start, memory and calls of one guest."""
    data = (GUESTS / file).read_bytes()
    code, shape, compile_s = await bench.compiled(data)
    function = "handle_message" if shape.is_agent else "handle_tool_call"
    message = MESSAGE if shape.is_agent else TOOL_CALLS[file]
    first = bench.sandbox(code, shape)
    started = time.perf_counter()
    await first.call(function, message)
    cold_ms = (time.perf_counter() - started) * 1e3
    starts = []
    for _ in range(5 if quick else 20):
        box = bench.sandbox(code, shape)
        started = time.perf_counter()
        await box.call(function, message)
        starts.append((time.perf_counter() - started) * 1e3)
        await box.close()
    count = 20 if quick else 50
    before_kb = pss_kb()
    boxes = [bench.sandbox(code, shape) for _ in range(count)]
    for box in boxes:
        await box.call(function, message)
    idle_kb = (pss_kb() - before_kb) / count
    for box in boxes:
        await box.close()
    calls = await timed(200 if quick else 2_000, lambda: first.call(function, message))
    await first.close()
    starts.sort()
    return {
        "size_kb": round(len(data) / 1e3),
        "compile_s": round(compile_s, 2),
        "first_start_ms": round(cold_ms, 2),
        "next_start_p50_ms": round(statistics.median(starts), 2),
        "next_start_p99_ms": round(starts[-1], 2),
        "idle_kb": round(idle_kb),
        **calls,
    }


async def messages(bench: Bench, quick: bool) -> dict[str, Any]:
    """An echo through a queue and a reply: native, shared, in a worker."""
    count = 2_000 if quick else 10_000
    code, shape, _ = await bench.compiled((GUESTS / LANGUAGES["c"]).read_bytes())

    async def native(data: bytes) -> bytes:
        return json.dumps({"content": json.loads(data)["content"]}).encode()

    box = bench.sandbox(code, shape)
    results = {
        "native_callable": await through_queue(count, native),
        "shared": await through_queue(count, lambda data: box.call("handle_message", data)),
    }
    async with asyncio.TaskGroup() as tasks:
        pool = WorkerPool(tasks, 1)
        in_worker = pool.open(plan(code, shape))
        await in_worker.call("handle_message", MESSAGE, nobody)

        def call(data: bytes) -> Awaitable[Any]:
            return in_worker.call("handle_message", data, nobody)

        results["worker"] = await through_queue(count, call)
        started = time.perf_counter()
        await asyncio.gather(*(some(call, count // 32) for _ in range(32)))
        results["worker_32_at_once_per_s"] = round(
            count // 32 * 32 / (time.perf_counter() - started)
        )
        await pool.close()
    results["shared_to_native"] = round(
        results["shared"]["per_s"] / results["native_callable"]["per_s"], 2
    )
    return results


async def some(call: Callable[[bytes], Awaitable[Any]], count: int) -> None:
    for _ in range(count):
        await call(MESSAGE)


def plan(code: Path, shape: Shape, limits: GuestLimits = LIMITS) -> Plan:
    return Plan(
        name="bench",
        file=code,
        shape=shape,
        limits=limits,
        log=lambda *_: None,
        on_snapshot=lambda _: None,
    )


async def through_queue(count: int, handle: Callable[[bytes], Awaitable[Any]]) -> dict[str, float]:
    """Put a message into a mailbox, let a task handle it, wait for its answer."""
    mailbox: asyncio.Queue[tuple[bytes, asyncio.Future[Any]]] = asyncio.Queue(1_000)

    async def work() -> None:
        while True:
            data, answer = await mailbox.get()
            answer.set_result(await handle(data))

    loop = asyncio.get_running_loop()

    async def ask() -> Any:
        answer = loop.create_future()
        mailbox.put_nowait((MESSAGE, answer))
        return await answer

    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(work())
        await ask()
        result = await timed(count, ask)
        worker.cancel()
    return result


SDK_SERVER = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> int:
    return a + b
server.run()
"""

RAW_SERVER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        arguments = request.get("params", {}).get("arguments", {})
        text = str(arguments.get("a", 0) + arguments.get("b", 0))
        answer = {"jsonrpc": "2.0", "id": request["id"],
                  "result": {"content": [{"type": "text", "text": text}]}}
        sys.stdout.write(json.dumps(answer) + "\\n")
        sys.stdout.flush()
"""


async def tools(bench: Bench, quick: bool) -> dict[str, Any]:
    """A tool call: in a sandbox, and of servers in processes of their own."""
    count = 500 if quick else 3_000
    code, shape, _ = await bench.compiled(wasm_guests.ADDER)
    data = b'{"name":"add","arguments":{"a":1,"b":2}}'
    box = bench.sandbox(code, shape)
    started = time.perf_counter()
    await box.call("handle_tool_call", data)
    results: dict[str, Any] = {
        "wasm_shared": {"start_ms": round((time.perf_counter() - started) * 1e3, 2)}
        | await timed(count, lambda: box.call("handle_tool_call", data))
    }
    async with asyncio.TaskGroup() as tasks:
        pool = WorkerPool(tasks, 1)
        other = pool.open(plan(code, shape))
        await other.call("handle_tool_call", data, nobody)
        results["wasm_worker"] = await timed(
            count, lambda: other.call("handle_tool_call", data, nobody)
        )
        await pool.close()
    results["subprocess_raw_python"] = await stdio_server([sys.executable, "-c", RAW_SERVER], count)
    results["subprocess_mcp_sdk"] = await stdio_server([sys.executable, "-c", SDK_SERVER], count)
    return results


async def stdio_server(command: list[str], count: int) -> dict[str, Any]:
    """Start an MCP server and call its tool."""
    started = time.perf_counter()
    child = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdin is not None
    assert child.stdout is not None
    numbers = iter(range(1, 10**9))

    async def request(method: str, params: dict[str, Any]) -> Any:
        document = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
        child.stdin.write(json.dumps(document).encode() + b"\n")
        return json.loads(await child.stdout.readline())

    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    await request("initialize", hello)
    child.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    call = {"name": "add", "arguments": {"a": 1, "b": 2}}
    await request("tools/call", call)
    start_ms = (time.perf_counter() - started) * 1e3
    rss_kb = resident_kb(child.pid)
    result = await timed(count, lambda: request("tools/call", call))
    child.kill()
    await child.wait()
    return {"start_ms": round(start_ms, 1), "memory_kb": rss_kb, **result}


async def many(bench: Bench, quick: bool) -> dict[str, Any]:
    """Sandboxes alive at once, and asleep at once on one thread."""
    code, shape, _ = await bench.compiled((GUESTS / LANGUAGES["c"]).read_bytes())
    count = 500 if quick else 5_000
    before_kb = pss_kb()
    started = time.perf_counter()
    boxes = [bench.sandbox(code, shape) for _ in range(count)]
    for box in boxes:
        await box.call("handle_message", MESSAGE)
    took_s = time.perf_counter() - started
    idle_kb = (pss_kb() - before_kb) / count
    answers = [await box.call("handle_message", MESSAGE) for box in boxes]
    for box in boxes:
        await box.close()
    asleep, sleeping_shape, _ = await bench.compiled(
        wasm_guests.asking("clock.sleep-ms", '{"duration":50}')
    )
    sleepers = [bench.sandbox(asleep, sleeping_shape) for _ in range(1_000)]
    await asyncio.gather(*(box.warm() for box in sleepers))
    started = time.perf_counter()
    await asyncio.gather(*(box.call("handle_message", MESSAGE) for box in sleepers))
    slept_s = time.perf_counter() - started
    for box in sleepers:
        await box.close()
    return {
        "alive": count,
        "all_answer": len(answers) == count,
        "start_each_ms": round(took_s / count * 1e3, 2),
        "idle_kb_each": round(idle_kb, 1),
        "asleep_at_once": 1_000,
        "all_awake_after_s": round(slept_s, 3),
    }


async def runaways(bench: Bench, quick: bool) -> dict[str, Any]:
    """How long after its budget a guest in a worker is stopped: alone, beside eight spinning."""
    spin = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    flood = wasm_guests.guest(
        """(func (export "handle_message") (param i32 i32) (result i32)
             (loop (drop (call $call (i32.const 16) (i32.const 12) (i32.const 0) (i32.const 0)))
             br 0) i32.const 0)""",
        (16, "clock.now-ms"),
    )
    sleep = wasm_guests.asking("clock.sleep-ms", '{"duration":10000}')
    compiled = {
        name: await bench.compiled(data)
        for name, data in (("spinning", spin), ("flooding", flood), ("asleep", sleep))
    }
    results: dict[str, Any] = {}
    count = 5 if quick else 40
    async with asyncio.TaskGroup() as tasks:
        pool = WorkerPool(tasks, 1)
        for neighbours in (0, 8):
            endless = GuestLimits(time_s=600.0, cpu_s=600.0)
            code, shape, _ = compiled["spinning"]
            beside = [pool.open(plan(code, shape, endless)) for _ in range(neighbours)]
            calls = [
                tasks.create_task(one.call("handle_message", MESSAGE, nobody)) for one in beside
            ]
            for name, (code, shape, _) in compiled.items():
                late = [await late_ms(pool, code, shape) for _ in range(count)]
                late.sort()
                results[f"{name}_beside_{neighbours}_late_ms"] = {
                    "p50": round(statistics.median(late), 1),
                    "max": round(late[-1], 1),
                }
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        await pool.close()
    return results


async def late_ms(pool: WorkerPool, code: Path, shape: Shape) -> float:
    """Return how long after its budget of 100 ms a guest in a worker is stopped."""
    box = pool.open(plan(code, shape, GuestLimits(time_s=0.1, cpu_s=10.0)))
    await box.warm()
    started = time.perf_counter()
    try:
        await box.call("handle_message", MESSAGE, nobody)
    except OverLimit:
        return (time.perf_counter() - started - 0.1) * 1e3
    finally:
        await box.close()
    raise AssertionError("a guest that never ends has ended")


async def swap(folder: Path, quick: bool) -> dict[str, Any]:
    """New versions of an agent with state on a whole node, under a thousand messages a second."""
    total = 300 if quick else 900
    pauses: list[float] = []
    digest = ""

    def source(version: int) -> str:
        return (
            f'name = "Counter"\nkind = "wasm"\nversion = "1.{version}.0"\n'
            f'capabilities = ["counting"]\n[wasm]\nsha256 = "{digest}"\n'
        )

    async with opened_node(folder) as node:
        digest = await node.guests.put_module(wasm_guests.COUNTER)
        await deploy(node, source(0))

        async def version(number: int) -> None:
            with node.events.watch(lambda event: event.kind == "guest.handed_over") as watcher:
                await deploy(node, source(number))
                event = await watcher.next(timeout_s=5.0)
            assert event is not None
            pauses.append(event.data["pause_ms"])

        asked: list[asyncio.Task[Any]] = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(total):
                asked.append(tasks.create_task(ask(node, receiver="Counter")))
                if number % 100 == 50:
                    tasks.create_task(version(number // 100 + 1))
                await asyncio.sleep(0.001)
        seen = sorted(task.result().body() for task in asked)
    pauses.sort()
    return {
        "messages": total,
        "versions": len(pauses),
        "pause_p50_ms": round(statistics.median(pauses), 2),
        "pause_max_ms": round(pauses[-1], 2),
        "each_answered_once": seen == [f"{number:03}" for number in range(1, total + 1)],
    }


async def neighbours(bench: Bench, quick: bool) -> dict[str, Any]:
    """How an agent of the node's own does while guests spin in a worker."""
    spin = wasm_guests.guest(
        '(func (export "handle_message") (param i32 i32) (result i32) (loop br 0) i32.const 0)'
    )
    code, shape, _ = await bench.compiled(spin)
    count = 1_000 if quick else 3_000

    async def native(data: bytes) -> bytes:
        return json.dumps({"content": json.loads(data)["content"]}).encode()

    quiet = await through_queue(count, native)
    async with asyncio.TaskGroup() as tasks:
        pool = WorkerPool(tasks, 1)
        limits = GuestLimits(time_s=60.0, cpu_s=60.0)
        boxes = [pool.open(plan(code, shape, limits)) for _ in range(4)]
        calls = [tasks.create_task(box.call("handle_message", MESSAGE, nobody)) for box in boxes]
        await asyncio.sleep(0.5)
        beside = await through_queue(count, native)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await pool.close()
    return {"alone": quiet, "beside_four_spinning_guests": beside}


async def run(quick: bool, only: set[str]) -> dict[str, Any]:
    """Measure everything, or some parts; each is printed as soon as it is known."""
    results: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder, open_programs() as programs:
        bench = Bench(Path(folder), programs)
        parts = {
            "messages": lambda: messages(bench, quick),
            "tools": lambda: tools(bench, quick),
            "runaways": lambda: runaways(bench, quick),
            "neighbours": lambda: neighbours(bench, quick),
            "swap": lambda: swap(bench.folder, quick),
            "many": lambda: many(bench, quick),
        }
        for name, file in LANGUAGES.items():
            if (GUESTS / file).exists():
                parts[name] = lambda file=file: language(bench, file, quick)
        for name, part in parts.items():
            if only and name not in only:
                continue
            results[name] = await part()
            print(f"{name}: {json.dumps(results[name])}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="parts by name, with commas between them")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = uvloop.run(run(arguments.quick, set(filter(None, arguments.only.split(",")))))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
