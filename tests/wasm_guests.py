"""Guests for tests, written in the text format: small, and each with one thing to show."""

import wasmtime

HEAD = """
  (import "caxton" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "take" (func $take (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 65536))
  (func (export "alloc") (param $n i32) (result i32)
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get $n))))
  ;; A result in memory: its length, then the text itself.
  (func $result (param $at i32) (param $n i32) (result i32)
    (i32.store (i32.sub (local.get $at) (i32.const 4)) (local.get $n))
    (i32.sub (local.get $at) (i32.const 4)))
"""


def build(text: str) -> bytes:
    """Return the module of a text."""
    return wasmtime.wat2wasm(text)


def data(at: int, text: str) -> str:
    """Return a piece of memory that holds a text."""
    escaped = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{escaped}")'


def guest(body: str, *pieces: tuple[int, str]) -> bytes:
    """Return a core module with the usual head, pieces of memory, and functions."""
    memory = "\n".join(data(at, text) for at, text in pieces)
    return build(f"(module {HEAD} {memory} {body})")


def answering(reply: str) -> bytes:
    """Return an agent that gives one reply to everything."""
    size = len(reply.encode())
    body = f"""
      (func (export "handle_message") (param i32 i32) (result i32)
        (call $result (i32.const 1024) (i32.const {size})))"""
    return guest(body, (1024, reply))


def asking(operation: str, arguments: str) -> bytes:
    """Return an agent that asks the host one thing and replies with the answer."""
    name, size = len(operation), len(arguments.encode())
    body = f"""
      (func (export "handle_message") (param i32 i32) (result i32)
        (local $n i32)
        (local.set $n (call $call (i32.const 16) (i32.const {name})
                                  (i32.const 512) (i32.const {size})))
        (drop (call $take (i32.const 32780) (local.get $n)))
        ;; {{"content":…}} around the answer
        (i64.store (i32.const 32769) (i64.const 0x6e65746e6f63227b))
        (i32.store (i32.const 32776) (i32.const 0x3a22746e))
        (i32.store8 (i32.add (i32.const 32780) (local.get $n)) (i32.const 0x7d))
        (call $result (i32.const 32769) (i32.add (local.get $n) (i32.const 12))))"""
    return guest(body, (16, operation), (512, arguments))


COUNTER = guest(
    """
    (global $count (mut i32) (i32.const 0))
    (func $digits (param $value i32) (param $at i32) (result i32)
      ;; Three digits are enough for a test.
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.div_u (local.get $value) (i32.const 100))))
      (i32.store8 (i32.add (local.get $at) (i32.const 1))
        (i32.add (i32.const 48)
          (i32.rem_u (i32.div_u (local.get $value) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.add (local.get $at) (i32.const 2))
        (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
      local.get $at)
    (func (export "handle_message") (param i32 i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (drop (call $digits (global.get $count) (i32.const 1036)))
      (call $result (i32.const 1024) (i32.const 17)))
    (func (export "snapshot") (result i32)
      (drop (call $digits (global.get $count) (i32.const 2049)))
      (call $result (i32.const 2048) (i32.const 5)))
    (func $digit (param $at i32) (result i32)
      (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
    (func (export "restore") (param $at i32) (param $n i32) (result i32)
      ;; {"state":"042","from_version":…}
      (local.set $at (i32.add (local.get $at) (i32.const 10)))
      (global.set $count
        (i32.add
          (i32.mul (call $digit (local.get $at)) (i32.const 100))
          (i32.add
            (i32.mul (call $digit (i32.add (local.get $at) (i32.const 1))) (i32.const 10))
            (call $digit (i32.add (local.get $at) (i32.const 2))))))
      i32.const 0)
    """,
    (1024, '{"content":"000"}'),
    (2048, '"000"'),
)
"""An agent that counts its messages in text, such as "042", and keeps its count."""

_ADD = (
    '[{"name":"add","description":"Add two numbers of one digit.","inputSchema":{"type":"object",'
    '"properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"]},'
    '"annotations":{"readOnlyHint":true}}]     '
)

ADDER = guest(
    """
    (func (export "list_tools") (result i32)
      (call $result (i32.const 1024) (i32.const 217)))
    (func (export "handle_tool_call") (param $at i32) (param $n i32) (result i32)
      ;; {"name":"add","arguments":{"a":1,"b":2}}: one digit each.
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (i32.const 9))) (i32.const 97))
        (then (return (i32.const -32601))))
      (i32.store8 (i32.const 2048)
        (i32.sub
          (i32.add
            (i32.load8_u (i32.add (local.get $at) (i32.const 31)))
            (i32.load8_u (i32.add (local.get $at) (i32.const 37))))
          (i32.const 48)))
      (call $result (i32.const 2048) (i32.const 1)))
    """,
    (
        1024,
        _ADD,
    ),
)
"""An MCP server with one tool."""
