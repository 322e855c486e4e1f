"""The hostile corpus: guests that mean harm, each run through all that stands in its way.

    python -m tests.wasm_hostile CASE

runs one of them in a process of its own, the way a node would: looked at, compiled, admitted,
run in a worker. It prints one line: what became of it, and whether a harmless neighbour in the
same worker still answers. A case that is contained ends the process well.
"""

import asyncio
import base64
import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wasmtime

from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.wasm import GuestLimits, Isolation, WasmSettings
from caxton_node.runtime.guests import GuestPolicy, Guests
from caxton_node.wasm.box import Plan
from caxton_node.wasm.errors import GuestRefused, OverLimit, Trapped, UnfitModule, WorkerLost
from caxton_node.wasm.operations import error_answer
from tests.wasm_guests import HEAD, answering, build, data

LIMITS = GuestLimits(memory_bytes=8_000_000, time_s=0.4, cpu_s=0.2)
WASI = "wasi_snapshot_preview1"


@dataclass(frozen=True)
class Case:
    make: Callable[[], bytes]
    wanted: str
    """What must become of it: `refused`, `stopped`, `trapped`, `denied`, `well`, or several."""
    function: str = "handle_message"
    snapshot: bytes | None = None
    digest: str | None = None
    signatures: str = "off"


CASES: dict[str, Case] = {}


def case(name: str, wanted: str, make: Callable[[], bytes], **more: Any) -> None:
    assert name not in CASES, name
    CASES[name] = Case(make, wanted, **more)


def agent(body: str, *pieces: tuple[int, str], head: str = HEAD, more: str = "") -> bytes:
    memory = "\n".join(data(at, text) for at, text in pieces)
    return build(
        f"(module {more} {head} {memory} "
        f'(func (export "handle_message") (param $at i32) (param $n i32) (result i32) {body}))'
    )


def wasi_agent(imports: str, body: str, *pieces: tuple[int, str]) -> bytes:
    head = HEAD.replace('(import "caxton" "call"', f'{imports} (import "caxton" "call"')
    return agent(body, *pieces, head=head)


def wasi(name: str, types: str, result: str = "(result i32)") -> str:
    return f'(import "{WASI}" "{name}" (func ${name} (param {types}) {result}))'


def leb(value: int) -> bytes:
    made = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        made.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(made)


def section(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + leb(len(body)) + body


CORE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"


def functions(count: int, body: bytes) -> bytes:
    """A module with many functions of one body."""
    return (
        CORE
        + section(1, leb(1) + b"\x60\0\0")
        + section(3, leb(count) + b"\0" * count)
        + section(10, leb(count) + (leb(len(body)) + body) * count)
    )


def calling(operation: str, arguments: str, body: str = "i32.const 0") -> bytes:
    return agent(
        f"""(drop (call $call (i32.const 16) (i32.const {len(operation)})
                  (i32.const 512) (i32.const {len(arguments)}))) {body}""",
        (16, operation),
        (512, arguments),
    )


# It does not end.
case("loop", "stopped", lambda: agent("(loop br 0) i32.const 0"))
case(
    "loop_in_start",
    "stopped",
    lambda: build(
        f'(module {HEAD} (func $go (loop br 0)) (start $go) (func (export "handle_message") '
        "(param i32 i32) (result i32) i32.const 0))"
    ),
)
case(
    "loop_in_alloc",
    "stopped",
    lambda: build(
        '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) '
        '(loop br 0) i32.const 0) (func (export "handle_message") (param i32 i32) (result i32) '
        "i32.const 0))"
    ),
)
case(
    "recursion",
    "trapped",
    lambda: (
        agent("(call $f)", more="")
        if False
        else build(
            f'(module {HEAD} (func $f (result i32) (call $f)) (func (export "handle_message") '
            "(param i32 i32) (result i32) (call $f)))"
        )
    ),
)
case("sleep_by_operation", "stopped", lambda: calling("clock.sleep-ms", '{"duration":10000}'))
case(
    "sleep_by_wasi",
    "stopped",
    lambda: wasi_agent(
        wasi("poll_oneoff", "i32 i32 i32 i32"),
        """(i64.store (i32.const 2072) (i64.const 10000000000))
           (call $poll_oneoff (i32.const 2048) (i32.const 4096) (i32.const 1) (i32.const 5000))""",
    ),
)
case(
    "sleep_for_ever_by_wasi",
    "stopped",
    lambda: wasi_agent(
        wasi("poll_oneoff", "i32 i32 i32 i32"),
        """(i64.store (i32.const 2072) (i64.const -1))
           (call $poll_oneoff (i32.const 2048) (i32.const 4096) (i32.const 1) (i32.const 5000))""",
    ),
)
case(
    "flood_of_host_calls",
    "stopped",
    lambda: agent(
        "(loop (drop (call $call (i32.const 16) (i32.const 12) (i32.const 0) (i32.const 0))) br 0)"
        " i32.const 0",
        (16, "clock.now-ms"),
    ),
)
case(
    "flood_of_unknown_operations",
    "stopped",
    lambda: agent(
        "(loop (drop (call $call (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 0))) br 0)"
        " i32.const 0",
        (16, "boom"),
    ),
)
case(
    "flood_of_the_log",
    "stopped",
    lambda: agent(
        "(loop (drop (call $call (i32.const 16) (i32.const 9) (i32.const 512) (i32.const 31))) "
        "br 0) i32.const 0",
        (16, "log.write"),
        (512, '{"level":"info","text":"xxxxx"}'),
    ),
)
case(
    "flood_of_yields",
    "stopped",
    lambda: wasi_agent(
        f'(import "{WASI}" "sched_yield" (func $sched_yield (result i32)))',
        "(loop (drop (call $sched_yield)) br 0) i32.const 0",
    ),
)
case(
    "flood_of_stdout",
    "stopped",
    lambda: wasi_agent(
        wasi("fd_write", "i32 i32 i32 i32"),
        """(i32.store (i32.const 2048) (i32.const 4096))
           (i32.store (i32.const 2052) (i32.const 60000))
           (i32.store8 (i32.const 8000) (i32.const 10))
           (loop (drop (call $fd_write (i32.const 1) (i32.const 2048) (i32.const 1)
           (i32.const 3000))) br 0) i32.const 0""",
    ),
)
case(
    "a_line_without_end",
    "stopped",
    lambda: wasi_agent(
        wasi("fd_write", "i32 i32 i32 i32"),
        """(i32.store (i32.const 2048) (i32.const 4096))
           (i32.store (i32.const 2052) (i32.const 60000))
           (loop (drop (call $fd_write (i32.const 1) (i32.const 2048) (i32.const 1)
           (i32.const 3000))) br 0) i32.const 0""",
    ),
)
case(
    "flood_of_chance",
    "stopped",
    lambda: wasi_agent(
        wasi("random_get", "i32 i32"),
        "(loop (drop (call $random_get (i32.const 4096) (i32.const 60000))) br 0) i32.const 0",
    ),
)

# It takes too much.
case(
    "memory_grows",
    "trapped",
    lambda: agent(
        """(loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) br 0)
           i32.const 0"""
    ),
)
case(
    "four_gigabytes_at_once",
    "refused",
    lambda: build(
        '(module (memory (export "memory") 65536) (func (export "alloc") (param i32) (result i32) '
        'i32.const 8) (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "a_table_of_ten_millions",
    "refused",
    lambda: build(
        f'(module {HEAD} (table 10000000 funcref) (func (export "handle_message") (param i32 i32) '
        "(result i32) i32.const 0))"
    ),
)
case(
    "a_table_grows",
    "trapped",
    lambda: agent(
        """(loop (if (i32.eq (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1))
           (then unreachable)) br 0) i32.const 0""",
        more="",
        head=HEAD + "(table $t 1 funcref)",
    ),
)
case(
    "an_answer_of_64_megabytes",
    "stopped",
    lambda: agent("(i32.store (i32.const 4096) (i32.const 67108864)) i32.const 4096"),
)
case(
    "an_answer_of_4_gigabytes",
    "stopped",
    lambda: agent("(i32.store (i32.const 4096) (i32.const -1)) i32.const 4096"),
)
case(
    "arguments_of_2_megabytes",
    "stopped",
    lambda: agent("(call $call (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 2000000))"),
)
case(
    "arguments_of_4_gigabytes",
    "stopped",
    lambda: agent("(call $call (i32.const 16) (i32.const 4) (i32.const 0) (i32.const -1))"),
)
case(
    "an_operation_with_a_long_name",
    "stopped",
    lambda: agent("(call $call (i32.const 16) (i32.const 100000) (i32.const 0) (i32.const 0))"),
)
case(
    "many_pieces_in_one_write",
    "stopped",
    lambda: wasi_agent(
        wasi("fd_write", "i32 i32 i32 i32"),
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 3000))",
    ),
)
case(
    "many_subscriptions",
    "well",
    lambda: wasi_agent(
        wasi("poll_oneoff", "i32 i32 i32 i32"),
        "(drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)))"
        " i32.const 0",
    ),
)

# It lies about its memory.
case("result_beyond_memory", "trapped", lambda: agent("i32.const 0x7ffffff0"))
case("result_at_the_end_of_memory", "trapped", lambda: agent("i32.const 262142"))
case(
    "result_longer_than_memory",
    "trapped",
    lambda: agent("(i32.store (i32.const 262140) (i32.const 100)) i32.const 262140"),
)
case("negative_result", "denied", lambda: agent("i32.const -2147483648"))
case(
    "alloc_beyond_memory",
    "trapped",
    lambda: build(
        '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) '
        'i32.const 0x7fffff00) (func (export "handle_message") (param i32 i32) (result i32) '
        "i32.const 0))"
    ),
)
case(
    "alloc_of_minus_one",
    "trapped",
    lambda: build(
        '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) '
        'i32.const -1) (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "alloc_without_room",
    "trapped",
    lambda: build(
        '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) '
        'i32.const 0) (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "take_beyond_memory",
    "trapped",
    lambda: agent(
        """(drop (call $call (i32.const 16) (i32.const 12) (i32.const 0) (i32.const 0)))
       (call $take (i32.const 0x7ffffff0) (i32.const 100))""",
        (16, "clock.now-ms"),
    ),
)
case(
    "call_beyond_memory",
    "trapped",
    lambda: agent("(call $call (i32.const 0x7ffffff0) (i32.const 10) (i32.const 0) (i32.const 0))"),
)
case(
    "no_memory",
    "refused",
    lambda: build(
        '(module (memory 1) (func (export "alloc") (param i32) (result i32) i32.const 8) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "a_memory_that_is_a_function",
    "refused",
    lambda: build(
        '(module (func (export "memory")) (func (export "alloc") (param i32) (result i32) '
        'i32.const 8) (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)

# It lies about what it says.
case(
    "no_utf8",
    "trapped",
    lambda: agent(
        "(i32.store (i32.const 4096) (i32.const 4)) (i32.store (i32.const 4100) (i32.const -1)) "
        "i32.const 4096"
    ),
)
case(
    "no_json",
    "trapped",
    lambda: agent("(i32.store (i32.const 4096) (i32.const 4)) i32.const 4096", (4100, "oops")),
)
case(
    "json_of_a_hundred_thousand_brackets",
    "trapped",
    lambda: agent(
        """(i32.store (i32.const 4096) (i32.const 100000))
       (memory.fill (i32.const 4100) (i32.const 91) (i32.const 100000)) i32.const 4096"""
    ),
)
case(
    "arguments_of_brackets",
    "well",
    lambda: agent(
        """(memory.fill (i32.const 8192) (i32.const 91) (i32.const 100000))
       (drop (call $call (i32.const 16) (i32.const 6) (i32.const 8192) (i32.const 100000)))
       i32.const 0""",
        (16, "kv.get"),
    ),
)
case(
    "a_snapshot_that_never_ends",
    "stopped",
    lambda: build(
        f'(module {HEAD} (func (export "snapshot") (result i32) (loop br 0) i32.const 0) '
        '(func (export "restore") (param i32 i32) (result i32) i32.const 0) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
    function="snapshot",
)
case(
    "a_snapshot_of_a_gigabyte",
    "stopped",
    lambda: build(
        f'(module {HEAD} (func (export "snapshot") (result i32) (i32.store (i32.const 4096) '
        "(i32.const 1073741824)) i32.const 4096) "
        '(func (export "restore") (param i32 i32) (result i32) i32.const 0) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
    function="snapshot",
)
case(
    "a_snapshot_that_is_no_json",
    "trapped",
    lambda: build(
        f'(module {HEAD} {data(4100, "oops")} (func (export "snapshot") (result i32) '
        "(i32.store (i32.const 4096) (i32.const 4)) i32.const 4096) "
        '(func (export "restore") (param i32 i32) (result i32) i32.const 0) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
    function="snapshot",
)
case(
    "a_restore_that_breaks",
    "trapped",
    lambda: build(
        f'(module {HEAD} (func (export "snapshot") (result i32) i32.const 0) '
        '(func (export "restore") (param i32 i32) (result i32) unreachable) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
    snapshot=b"{}",
)

# It breaks.
case("unreachable", "trapped", lambda: agent("unreachable"))
case("division_by_zero", "trapped", lambda: agent("(i32.div_u (i32.const 1) (i32.const 0))"))
case(
    "a_store_before_memory",
    "trapped",
    lambda: agent("(i32.store (i32.const -4) (i32.const 1)) i32.const 0"),
)
case(
    "fill_beyond_memory",
    "trapped",
    lambda: agent("(memory.fill (i32.const 262000) (i32.const 1) (i32.const 100000)) i32.const 0"),
)
case(
    "an_indirect_call_of_nothing",
    "trapped",
    lambda: agent("(call_indirect (result i32) (i32.const 0))", head=HEAD + "(table 1 funcref)"),
)
case(
    "a_start_that_breaks",
    "trapped",
    lambda: build(
        f'(module {HEAD} (func $go unreachable) (start $go) (func (export "handle_message") '
        "(param i32 i32) (result i32) i32.const 0))"
    ),
)
case(
    "proc_exit",
    "trapped",
    lambda: wasi_agent(wasi("proc_exit", "i32", ""), "(call $proc_exit (i32.const 0)) i32.const 0"),
)

# It wants out.
case(
    "open_a_file",
    "well",
    lambda: wasi_agent(
        wasi("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        """(if (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 11)
             (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 3000)))
             (then unreachable)) i32.const 0""",
        (16, "/etc/passwd"),
    ),
)
case(
    "a_preopened_folder",
    "well",
    lambda: wasi_agent(
        wasi("fd_prestat_get", "i32 i32"),
        """(if (i32.eqz (call $fd_prestat_get (i32.const 3) (i32.const 3000))) (then unreachable))
           i32.const 0""",
    ),
)
case(
    "a_socket",
    "well",
    lambda: wasi_agent(
        wasi("sock_accept", "i32 i32 i32"),
        """(if (i32.eqz (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 3000)))
           (then unreachable)) i32.const 0""",
    ),
)
case(
    "the_environment",
    "well",
    lambda: wasi_agent(
        wasi("environ_sizes_get", "i32 i32"),
        """(drop (call $environ_sizes_get (i32.const 3000) (i32.const 3004)))
           (if (i32.load (i32.const 3000)) (then unreachable)) i32.const 0""",
    ),
)
for name, operation, arguments in (
    ("files", "files.read", '{"path":"../../../etc/passwd"}'),
    ("the_web", "http.fetch", '{"request":{"url":"http://169.254.169.254/"}}'),
    ("keys_and_values", "kv.get", '{"key":"x"}'),
    ("messages", "messaging.send", '{"receiver":"a","performative":"inform","content":1}'),
    ("memories", "memory.search", '{"scope":"global","query":"x","limit":5}'),
    ("tools", "tools.call", '{"name":"echo","arguments":{}}'),
    ("models", "model.complete", '{"request":{"prompt":"x"}}'),
):
    # The neighbourhood of the test answers `denied`, as a host without grants does.
    case(
        f"{name}_without_a_grant",
        "well",
        lambda operation=operation, arguments=arguments: calling(operation, arguments),
    )
case(
    "an_unknown_import",
    "refused",
    lambda: build(
        '(module (import "env" "system" (func)) (memory (export "memory") 1) '
        '(func (export "alloc") (param i32) (result i32) i32.const 8) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "an_imported_memory",
    "refused",
    lambda: build(
        '(module (import "env" "memory" (memory 1)) (export "memory" (memory 0)) '
        '(func (export "alloc") (param i32) (result i32) i32.const 8) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "a_known_import_of_another_type",
    "refused",
    lambda: build(
        '(module (import "caxton" "call" (func (param i64))) (memory (export "memory") 1) '
        '(func (export "alloc") (param i32) (result i32) i32.const 8) '
        '(func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "an_export_of_another_type",
    "refused",
    lambda: build(
        '(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) '
        'i32.const 8) (func (export "handle_message") (result i64) i64.const 0))'
    ),
)
case(
    "agent_and_server_at_once",
    "refused",
    lambda: build(
        f'(module {HEAD} (func (export "handle_message") (param i32 i32) (result i32) i32.const 0) '
        '(func (export "handle_tool_call") (param i32 i32) (result i32) i32.const 0))'
    ),
)

# It is not what it seems.
case("nothing", "refused", lambda: b"")
case("garbage", "refused", lambda: bytes(range(256)) * 40)
case("only_a_head", "refused", lambda: CORE)
case("cut_off", "refused", lambda: answering('{"content":1}')[:-20])
case("another_version", "refused", lambda: b"\0asm\x09\0\0\0")
case("a_length_that_never_ends", "refused", lambda: CORE + b"\x01" + b"\xff" * 30)
case(
    "native_code",
    "refused",
    lambda: bytes(wasmtime.Module(wasmtime.Engine(), answering('{"content":1}')).serialize()),
)
case("a_component_that_is_none", "refused", lambda: COMPONENT + bytes(range(1, 200)))
case(
    "a_component_of_an_unknown_world",
    "refused",
    lambda: build('(component (import "evil:corp/root@1.0.0" (instance (export "f" (func)))))'),
)
case("a_component_with_nothing_to_call", "refused", lambda: build("(component)"))
case("components_within_components", "refused", lambda: build("(component " * 12 + ")" * 12))
case(
    "a_component_of_ten_thousand_types",
    "refused",
    lambda: COMPONENT + section(7, leb(20_000) + b"\x73" * 20_000),
)
case(
    "memory_of_64_bits",
    "refused",
    lambda: build(
        '(module (memory (export "memory") i64 1) (func (export "alloc") (param i32) (result i32) '
        'i32.const 8) (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))'
    ),
)
case(
    "shared_memory",
    "refused",
    lambda: build(
        '(module (memory (export "memory") 1 1 shared) (func (export "alloc") (param i32) '
        '(result i32) i32.const 8) (func (export "handle_message") (param i32 i32) (result i32) '
        "i32.const 0))"
    ),
)
case("two_memories", "refused", lambda: build(f"(module {HEAD} (memory 1))"))
case(
    "a_tail_call",
    "refused",
    lambda: agent("(return_call $f)", head=HEAD + ("(func $f (result i32) i32.const 0)")),
)
case("threads", "refused", lambda: agent("(i32.atomic.load (i32.const 0))"))
case(
    "relaxed_simd",
    "refused",
    lambda: agent(
        "(i32x4.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0)))"
    ),
)
case("another_digest", "refused", lambda: answering('{"content":1}'), digest="0" * 64)
case("no_signature", "refused", lambda: answering('{"content":1}'), signatures="require")

# It bursts the compiler.
case("two_hundred_thousand_functions", "refused", lambda: functions(200_000, b"\0\x0b"))
case(
    "forty_nine_thousand_locals",
    "refused",
    lambda: functions(2_000, leb(1) + leb(49_000) + b"\x7f\x0b"),
)
case(
    "a_function_of_two_and_a_half_million_operations",
    "refused",
    lambda: functions(1, b"\0" + b"\x01" * 2_500_000 + b"\x0b"),
)
case(
    "sixty_thousand_blocks",
    "refused",
    lambda: functions(1, b"\0" + b"\x02\x40" * 60_000 + b"\x0b" * 60_000 + b"\x0b"),
)
case(
    "a_branch_to_half_a_million_places",
    "refused",
    lambda: functions(1, b"\0\x41\0\x0e" + leb(500_000) + b"\0" * 500_001 + b"\x0b"),
)
case(
    "forty_megabytes_of_names",
    "refused",
    lambda: CORE + section(0, b"\x04name" + b"\0" * 40_000_000),
)


async def _denied(operation: str, _: bytes) -> bytes:
    return error_answer("denied", f"{operation} is not granted")


async def run(one: Case) -> tuple[str, str, bool]:
    """Return what became of a case, the reason, and whether its neighbour still answers."""
    key = base64.b64encode(hashlib.sha256(b"a key that nobody has").digest()).decode()
    policy = GuestPolicy(signatures=one.signatures, signers={"somebody": key})
    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.TaskGroup() as tasks:
            guests = Guests(Path(folder), policy, tasks)
            try:
                outcome, reason = await _outcome(guests, one)
                harmless = Guests(Path(folder), GuestPolicy(signers={}), tasks)
                harmless.workers = guests.workers
                neighbour = await _open(harmless, answering('{"content":"well"}'), "neighbour")
                answer = await neighbour.call("handle_message", b"{}", _denied)
                return outcome, reason, answer == b'{"content":"well"}'
            finally:
                await guests.close()


async def _open(guests: Guests, module: bytes, name: str, digest: str | None = None):
    kept = await guests.put_module(module)
    settings = WasmSettings(sha256=digest or kept)
    admitted = await guests.admit(name, "1.0.0", settings, limits=LIMITS)
    plan = Plan(
        name=name,
        file=admitted.compiled.file,
        shape=admitted.shape,
        limits=LIMITS,
        log=lambda *_: None,
        on_snapshot=lambda _: None,
    )
    return guests.open(plan, Isolation.WORKER)


async def _outcome(guests: Guests, one: Case) -> tuple[str, str]:
    from caxton_node.wasm.box import Snapshot

    try:
        box = await _open(guests, one.make(), "hostile", one.digest)
    except CaxtonError as error:
        return "refused", error.detail
    if one.snapshot is not None:
        box.restore(Snapshot(one.snapshot, "1.0.0"))
    try:
        if one.function == "snapshot":
            await box.take_snapshot()
        else:
            await box.call(one.function, b'{"content":1}', _denied)
    except UnfitModule as error:
        return "refused", error.detail
    except GuestRefused as error:
        return "denied", str(error)
    except OverLimit as error:
        return "stopped", str(error)
    except Trapped as error:
        return "trapped", str(error)
    except WorkerLost as error:
        return "lost", str(error)
    return "well", ""


def main(name: str) -> int:
    one = CASES[name]
    outcome, reason, is_neighbour_well = asyncio.run(run(one))
    sys.stdout.write(f"{outcome} {is_neighbour_well} {reason}\n")
    return 0 if outcome in one.wanted.split(" or ") and is_neighbour_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
