"""WASI preview 2 of our own, as far as language runtimes need it: clocks, chance, streams, exits.

The functions that are not here trap when they are called: folders, sockets and the web among them.
Handles of host resources are numbers that name what they stand for.

Reference: WASI 0.2, `wasi:cli`, `wasi:clocks`, `wasi:io`, `wasi:random`, `wasi:filesystem`.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final

from wasmtime import _bindings as raw
from wasmtime import _ffi as ffi

from caxton_node.wasm.component_values import U32, U64, Bytes, Case, Err, Ok
from caxton_node.wasm.errors import OverLimit, Trapped
from caxton_node.wasm.surroundings import Surroundings
from caxton_node.wasm.wasi import PROGRAM_NAME, GuestExited

__all__ = ["WASI2_FUNCTIONS", "WASI2_RESOURCES", "Wasi2"]

RANDOM_BYTES_MAX: Final = 65_536
LINE_BYTES_MAX: Final = 1_000_000
WRITE_BYTES: Final = 65_536
"""What a stream says that it takes at once."""
POLLED_MAX: Final = 64
SLEEP_S_MAX: Final = 86_400.0
POLLABLES_MAX: Final = 100_000
"""Pollables that one sandbox may make in its life."""

WASI2_RESOURCES: Final = {
    "wasi:io/error.error": 1,
    "wasi:io/poll.pollable": 2,
    "wasi:io/streams.input-stream": 3,
    "wasi:io/streams.output-stream": 4,
    "wasi:cli/terminal-input.terminal-input": 5,
    "wasi:cli/terminal-output.terminal-output": 6,
    "wasi:filesystem/types.descriptor": 7,
    "wasi:filesystem/types.directory-entry-stream": 8,
}
"""Resource → the number of its type."""

_ERROR, _POLLABLE, _INPUT, _OUTPUT = 1, 2, 3, 4

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Handle:
    """A resource of the host that a guest gets to own."""

    __slots__ = ("kind", "rep")

    def __init__(self, kind: int, rep: int) -> None:
        self.kind = kind
        self.rep = rep


class Wasi2:
    """The WASI of one component.

    Args:
        surroundings: Where the log goes; what the environment is.
        context: The C handle of its store, to make and read handles.
    """

    def __init__(self, surroundings: Surroundings, context: Any) -> None:
        self._surroundings = surroundings
        self._context = context
        self._unfinished = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self._wake_at_s: dict[int, float] = {0: 0.0}
        """Pollables by number: when each is ready."""

    async def answer(self, name: str, values: list[Any]) -> Any:
        """Answer a function; returns what goes into its result, None for no result.

        Raises:
            SandboxFailed: The guest ended itself, or took too much.
        """
        if name == "wasi:io/poll.poll":
            return await self._poll(values[0])
        if name == "wasi:io/poll.[method]pollable.block":
            await self._sleep(self._ready_at(values[0]))
            return None
        if name.endswith(("blocking-write-and-flush", "output-stream.write")):
            return self._write(values[0], values[1])
        return WASI2_FUNCTIONS[name](self, values)

    # Handles.

    def resource(self, handle: Handle) -> Any:
        """Return the C value of a handle for the guest to own."""
        host = raw.wasmtime_component_resource_host_new(True, handle.rep, handle.kind)
        made = ctypes.POINTER(ffi.wasmtime_component_resource_any_t)()
        error: Any = raw.wasmtime_component_resource_host_to_any(
            self._context, host, ctypes.byref(made)
        )
        raw.wasmtime_component_resource_host_delete(host)
        if error:
            raw.wasmtime_error_delete(error)
            raise Trapped("a handle could not be made")
        return made

    # Time.

    def pollable(self, ready_at_s: float) -> Any:
        """Return a pollable that is ready at an instant of the monotonic clock."""
        number = 0
        if ready_at_s > 0:
            number = len(self._wake_at_s)
            if number > POLLABLES_MAX:
                raise OverLimit("output", f"more than {POLLABLES_MAX:,} pollables")
            self._wake_at_s[number] = ready_at_s
        return self.resource(Handle(_POLLABLE, number))

    def _ready_at(self, handle: Any) -> float:
        return self._wake_at_s.get(int(handle), 0.0)

    async def _sleep(self, until_s: float) -> None:
        wait_s = until_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, SLEEP_S_MAX))

    async def _poll(self, handles: list[Any]) -> list[Any]:
        if not 1 <= len(handles) <= POLLED_MAX:
            raise Trapped(f"poll takes from one to {POLLED_MAX} pollables")
        at_s = [self._ready_at(handle) for handle in handles]
        first_s = min(at_s)
        await self._sleep(first_s)
        now_s = max(time.monotonic(), first_s)
        return [U32(place) for place, ready_s in enumerate(at_s) if ready_s <= now_s]

    # Streams.

    def _write(self, stream: Any, data: Any) -> Ok:
        rep = int(stream)
        unfinished = self._unfinished.get(rep)
        if unfinished is None:
            raise Trapped("a stream that is none of the host's")
        chunk = bytes(data)
        if len(unfinished) + len(chunk) > LINE_BYTES_MAX:
            raise OverLimit("output", f"more than {LINE_BYTES_MAX:,} bytes in one line")
        unfinished += chunk
        *lines, rest = bytes(unfinished).split(b"\n")
        unfinished[:] = rest
        level = "info" if rep == _STDOUT else "warning"
        for line in lines:
            if line.strip():
                self._surroundings.write_log(level, line.decode("utf-8", "replace"))
        return Ok()

    def environment(self) -> list[Any]:
        """Return the variables that the manifest grants."""
        return [(name, value) for name, value in self._surroundings.environment.items()]


def _exit(_: Wasi2, values: list[Any]) -> Any:
    raise GuestExited(0 if isinstance(values[0], Ok) else 1)


def _random_bytes(_: Wasi2, values: list[Any]) -> Any:
    count = values[0]
    if count > RANDOM_BYTES_MAX:
        raise OverLimit("output", f"more than {RANDOM_BYTES_MAX:,} random bytes at once")
    return Bytes(SystemRandom().randbytes(count))


def _coarse_ns(now_ns: int) -> int:
    return now_ns // 1_000_000 * 1_000_000


def _wall_clock(_: Wasi2, __: list[Any]) -> Any:
    now_ns = _coarse_ns(time.time_ns())
    return {"seconds": U64(now_ns // 10**9), "nanoseconds": U32(now_ns % 10**9)}


def _subscribe_instant(wasi: Wasi2, values: list[Any]) -> Any:
    return wasi.pollable(values[0] / 1e9)


def _subscribe_duration(wasi: Wasi2, values: list[Any]) -> Any:
    return wasi.pollable(time.monotonic() + values[0] / 1e9)


def _stream(kind: int, rep: int) -> Callable[[Wasi2, list[Any]], Any]:
    return lambda wasi, _: wasi.resource(Handle(kind, rep))


def _lent(result: Any) -> Callable[[Wasi2, list[Any]], Any]:
    """Return what answers a method whose handle says nothing."""

    def answer(_: Wasi2, __: list[Any]) -> Any:
        return result

    return answer


def _closed(_: Wasi2, __: list[Any]) -> Any:
    return Err(Case("closed"))


def _ready(wasi: Wasi2, _: list[Any]) -> Any:
    return wasi.pollable(0.0)


def _is_ready(wasi: Wasi2, values: list[Any]) -> Any:
    return wasi._ready_at(values[0]) <= time.monotonic()  # noqa: SLF001 - a function of the class


def _asynchronous(_: Wasi2, __: list[Any]) -> Any:
    raise AssertionError("answered where waiting is possible")


_OUT: Final = "wasi:io/streams.[method]output-stream."
_IN: Final = "wasi:io/streams.[method]input-stream."

WASI2_FUNCTIONS: Final[dict[str, Callable[[Wasi2, list[Any]], Any]]] = {
    "wasi:cli/environment.get-environment": lambda wasi, _: wasi.environment(),
    "wasi:cli/environment.get-arguments": lambda _, __: [PROGRAM_NAME],
    "wasi:cli/environment.initial-cwd": lambda _, __: None,
    "wasi:cli/exit.exit": _exit,
    "wasi:cli/stdin.get-stdin": _stream(_INPUT, _STDIN),
    "wasi:cli/stdout.get-stdout": _stream(_OUTPUT, _STDOUT),
    "wasi:cli/stderr.get-stderr": _stream(_OUTPUT, _STDERR),
    "wasi:cli/terminal-stdin.get-terminal-stdin": lambda _, __: None,
    "wasi:cli/terminal-stdout.get-terminal-stdout": lambda _, __: None,
    "wasi:cli/terminal-stderr.get-terminal-stderr": lambda _, __: None,
    "wasi:clocks/monotonic-clock.now": lambda _, __: U64(_coarse_ns(time.monotonic_ns())),
    "wasi:clocks/monotonic-clock.resolution": lambda _, __: U64(1_000_000),
    "wasi:clocks/monotonic-clock.subscribe-instant": _subscribe_instant,
    "wasi:clocks/monotonic-clock.subscribe-duration": _subscribe_duration,
    "wasi:clocks/wall-clock.now": _wall_clock,
    "wasi:clocks/wall-clock.resolution": lambda _, __: {
        "seconds": U64(0),
        "nanoseconds": U32(1_000_000),
    },
    "wasi:random/random.get-random-bytes": _random_bytes,
    "wasi:random/random.get-random-u64": lambda _, __: U64(SystemRandom().getrandbits(64)),
    "wasi:random/insecure.get-insecure-random-bytes": _random_bytes,
    "wasi:random/insecure.get-insecure-random-u64": lambda _, __: U64(
        SystemRandom().getrandbits(64)
    ),
    "wasi:random/insecure-seed.insecure-seed": lambda _, __: (
        U64(SystemRandom().getrandbits(64)),
        U64(SystemRandom().getrandbits(64)),
    ),
    "wasi:filesystem/preopens.get-directories": lambda _, __: [],
    "wasi:io/error.[method]error.to-debug-string": _lent("an error"),
    "wasi:io/poll.poll": _asynchronous,
    "wasi:io/poll.[method]pollable.block": _asynchronous,
    "wasi:io/poll.[method]pollable.ready": _is_ready,
    f"{_IN}read": _closed,
    f"{_IN}blocking-read": _closed,
    f"{_IN}subscribe": _ready,
    f"{_OUT}check-write": _lent(Ok(U64(WRITE_BYTES))),
    f"{_OUT}write": _asynchronous,
    f"{_OUT}blocking-write-and-flush": _asynchronous,
    f"{_OUT}flush": _lent(Ok()),
    f"{_OUT}blocking-flush": _lent(Ok()),
    f"{_OUT}subscribe": _ready,
}
"""`interface.function`, without its version → what answers it."""
