"""WASI preview 1 of our own: clocks, chance, standard streams, and a firm no to everything else.

The engine's own WASI blocks the thread where a guest sleeps; here the fiber waits and the thread
does not. There are no folders and no sockets: `path_*` answers ENOTCAPABLE, a descriptor that is
not a standard stream EBADF. The clock is coarse and chance is capped.

Reference: WASI snapshot preview 1 (`wasi_snapshot_preview1.witx`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from random import SystemRandom
from typing import Final

from caxton_node.wasm.errors import OverLimit, Trapped
from caxton_node.wasm.fibers import Asked
from caxton_node.wasm.linear_memory import LinearMemory
from caxton_node.wasm.surroundings import RESULT_BYTES_MAX, Surroundings
from caxton_node.wasm.wasi_functions import WASI_MODULE

__all__ = ["PROGRAM_NAME", "GuestExited", "Wasi"]

RANDOM_BYTES_MAX: Final = 65_536
"""Of one call."""
VECTORS_MAX: Final = 1_024
"""Pieces of one read or write."""
SUBSCRIPTIONS_MAX: Final = 64
LINE_BYTES_MAX: Final = 1_000_000
"""Of what a guest writes without a line feed."""
SLEEP_S_MAX: Final = 86_400.0
ENVIRONMENT_BYTES_MAX: Final = 65_536

PROGRAM_NAME: Final = "guest"
"""The only argument that a guest gets: without one, Go's flags and many a `main` in C break."""

_ARGUMENTS: Final = (PROGRAM_NAME.encode() + b"\0",)

_SUCCESS: Final = 0
_AGAIN: Final = 6
_BAD_DESCRIPTOR: Final = 8
_INVALID: Final = 28
_NOT_SUPPORTED: Final = 58
_NOT_CAPABLE: Final = 76
_ILLEGAL_SEEK: Final = 70

_NONBLOCK: Final = 0x0004
_CHARACTER_DEVICE: Final = 2

_RIGHTS: Final = (1 << 1) | (1 << 6) | (1 << 3) | (1 << 27)
"""fd_read, fd_write, fd_fdstat_set_flags, poll_fd_readwrite."""


class GuestExited(Trapped):
    """The guest ended itself.

    Attributes:
        status: As it said.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the guest ended itself with status {status}")
        self.status = status


class Wasi:
    """The WASI of one sandbox.

    Args:
        surroundings: Where the log goes; what the environment is.
        memory: The guest's; None while it has none yet.
    """

    def __init__(self, surroundings: Surroundings, memory: LinearMemory | None) -> None:
        self.memory = memory
        self.has_stdin = False
        """Whether somebody feeds the standard input: reading it then waits instead of ending."""
        self.captures_stdout = False
        """Whether somebody reads the standard output: it goes to `lines` then, not to the log."""
        self.lines: deque[bytes] = deque()
        """Lines of standard output."""
        self._surroundings = surroundings
        self._input = bytearray()
        self._unfinished = {1: bytearray(), 2: bytearray()}
        self._flags = {0: 0, 1: 0, 2: 0}

    def feed(self, data: bytes) -> None:
        """Put bytes into the guest's standard input."""
        self._input += data

    async def serve(self, asked: Asked) -> bool:
        """Answer a call; False where the guest waits for input that is not there.

        Raises:
            GuestExited: It was `proc_exit`.
            SandboxFailed: The guest named what is not there.
        """
        module, _, name = asked.name.partition(".")
        assert module == WASI_MODULE, "other imports are refused before a guest runs"
        if name == "proc_exit":
            raise GuestExited(asked.arguments[0])
        if name == "poll_oneoff":
            errno = await self._poll(*asked.arguments)
        elif name == "fd_read":
            errno = self._fd_read(*asked.arguments)
        else:
            errno = self._at_once(name, asked.arguments)
        if errno is None:
            return False
        asked.results[0].of.i32 = errno
        return True

    @property
    def _of_guest(self) -> LinearMemory:
        if self.memory is None:
            raise Trapped("the guest calls WASI before it has a memory")
        return self.memory

    def _at_once(self, name: str, values: list[int]) -> int:
        match name:
            case "args_sizes_get":
                return self._sizes_of(_ARGUMENTS, *values)
            case "args_get":
                return self._put(_ARGUMENTS, *values)
            case "sched_yield":
                return _SUCCESS
            case "environ_sizes_get":
                return self._sizes_of(self._environment(), *values)
            case "environ_get":
                return self._put(self._environment(), *values)
            case "clock_res_get":
                self._of_guest.write_u64(values[1], 1_000_000)
                return _SUCCESS if 0 <= values[0] <= 3 else _INVALID
            case "clock_time_get":
                return self._clock_time_get(values[0], values[2])
            case "random_get":
                return self._random_get(*values)
            case "fd_write":
                return self._fd_write(*values)
            case "fd_fdstat_get" | "fd_filestat_get" | "fd_fdstat_set_flags" | "fd_close":
                return self._of_stream(name, *values)
            case _:
                return self._refusal(name, values)

    def _refusal(self, name: str, values: list[int]) -> int:
        if name.startswith(("path_", "sock_")):
            return _NOT_CAPABLE
        if not name.startswith("fd_"):
            return _NOT_SUPPORTED
        if values[0] not in self._flags:
            return _BAD_DESCRIPTOR
        is_seek = name in ("fd_seek", "fd_tell", "fd_pread", "fd_pwrite")
        return _ILLEGAL_SEEK if is_seek else _NOT_SUPPORTED

    def _environment(self) -> list[bytes]:
        entries = [
            f"{name}={value}".encode() + b"\0"
            for name, value in self._surroundings.environment.items()
        ]
        return entries if sum(map(len, entries)) <= ENVIRONMENT_BYTES_MAX else []

    def _sizes_of(self, entries: Sequence[bytes], count: int, size: int) -> int:
        self._of_guest.write_u32(count, len(entries))
        self._of_guest.write_u32(size, sum(map(len, entries)))
        return _SUCCESS

    def _put(self, entries: Sequence[bytes], pointers: int, buffer: int) -> int:
        for place, entry in enumerate(entries):
            self._of_guest.write_u32(pointers + 4 * place, buffer)
            self._of_guest.write(buffer, entry)
            buffer += len(entry)
        return _SUCCESS

    def _clock_time_get(self, clock: int, pointer: int) -> int:
        match clock:
            case 0:
                now_ns = time.time_ns()
            case 1 | 2 | 3:
                now_ns = time.monotonic_ns()
            case _:
                return _INVALID
        self._of_guest.write_u64(pointer, now_ns // 1_000_000 * 1_000_000)
        return _SUCCESS

    def _random_get(self, pointer: int, size: int) -> int:
        size &= 0xFFFF_FFFF
        if size > RANDOM_BYTES_MAX:
            return _INVALID
        self._of_guest.write(pointer, SystemRandom().randbytes(size))
        return _SUCCESS

    def _vectors(self, pointer: int, count: int) -> list[tuple[int, int]]:
        count &= 0xFFFF_FFFF
        if count > VECTORS_MAX:
            raise OverLimit("output", f"{count} pieces in one read or write")
        data = self._of_guest.read(pointer, 8 * count)
        return [
            (
                int.from_bytes(data[start : start + 4], "little"),
                int.from_bytes(data[start + 4 : start + 8], "little"),
            )
            for start in range(0, len(data), 8)
        ]

    def _fd_write(self, descriptor: int, pointer: int, count: int, written: int) -> int:
        if descriptor not in self._unfinished:
            return _BAD_DESCRIPTOR
        vectors = self._vectors(pointer, count)
        total = sum(size for _, size in vectors)
        unfinished = self._unfinished[descriptor]
        if total + len(unfinished) > LINE_BYTES_MAX:
            raise OverLimit("output", f"more than {LINE_BYTES_MAX:,} bytes in one line")
        for start, size in vectors:
            unfinished += self._of_guest.read(start, size)
        *lines, rest = bytes(unfinished).split(b"\n")
        unfinished[:] = rest
        for line in lines:
            self._write_line(descriptor, line)
        self._of_guest.write_u32(written, total)
        return _SUCCESS

    def _write_line(self, descriptor: int, line: bytes) -> None:
        if descriptor == 1 and self.captures_stdout:
            if sum(map(len, self.lines)) + len(line) > 2 * RESULT_BYTES_MAX:
                raise OverLimit("output", "more on standard output than is taken")
            self.lines.append(line)
        elif line.strip():
            level = "info" if descriptor == 1 else "warning"
            self._surroundings.write_log(level, line.decode("utf-8", "replace"))

    def _fd_read(self, descriptor: int, pointer: int, count: int, read: int) -> int | None:
        if descriptor != 0:
            return _BAD_DESCRIPTOR
        if not self._input and self.has_stdin:
            return _AGAIN if self._flags[0] & _NONBLOCK else None
        total = 0
        for start, size in self._vectors(pointer, count):
            part = bytes(self._input[:size])
            self._of_guest.write(start, part)
            del self._input[: len(part)]
            total += len(part)
        self._of_guest.write_u32(read, total)
        return _SUCCESS

    def _of_stream(self, name: str, descriptor: int, value: int = 0) -> int:
        if descriptor not in self._flags:
            return _BAD_DESCRIPTOR
        match name:
            case "fd_fdstat_get":
                state = bytearray(24)
                state[0] = _CHARACTER_DEVICE
                state[2:4] = self._flags[descriptor].to_bytes(2, "little")
                state[8:16] = _RIGHTS.to_bytes(8, "little")
                self._of_guest.write(value, bytes(state))
            case "fd_filestat_get":
                state = bytearray(64)
                state[16] = _CHARACTER_DEVICE
                self._of_guest.write(value, bytes(state))
            case "fd_fdstat_set_flags":
                self._flags[descriptor] = value & 0xFFFF
            case _:
                return _SUCCESS
        return _SUCCESS

    async def _poll(self, pointer: int, events: int, count: int, given: int) -> int | None:
        """Wait for the first of some events; None where that is input that is not there."""
        count &= 0xFFFF_FFFF
        if not 1 <= count <= SUBSCRIPTIONS_MAX:
            return _INVALID
        data = self._of_guest.read(pointer, 48 * count)
        waits: list[tuple[float, bytes, int]] = []
        is_for_input = False
        for start in range(0, len(data), 48):
            one = data[start : start + 48]
            kind = one[8]
            if kind == 0:
                waits.append((_clock_wait_s(one), one[:8], kind))
            elif kind == 1 and int.from_bytes(one[16:20], "little") == 0 and self.has_stdin:
                is_for_input = True
                if self._input:
                    waits.append((0.0, one[:8], kind))
            else:
                waits.append((0.0, one[:8], kind))
        if not waits or (is_for_input and not self._input and not any(w == 0 for w, _, _ in waits)):
            # What it is given next wakes it: nobody pays for a server that does nothing.
            return None
        wait_s = min(wait for wait, _, _ in waits)
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, SLEEP_S_MAX))
        ready = [(userdata, kind) for wait, userdata, kind in waits if wait <= wait_s]
        for place, (userdata, kind) in enumerate(ready):
            event = bytearray(32)
            event[0:8] = userdata
            event[10] = kind
            if kind == 1:
                event[16:24] = len(self._input).to_bytes(8, "little")
            self._of_guest.write(events + 32 * place, bytes(event))
        self._of_guest.write_u32(given, len(ready))
        return _SUCCESS


def _clock_wait_s(subscription: bytes) -> float:
    clock = int.from_bytes(subscription[16:20], "little")
    timeout_ns = int.from_bytes(subscription[24:32], "little")
    is_absolute = subscription[40] & 1
    if is_absolute:
        timeout_ns -= time.time_ns() if clock == 0 else time.monotonic_ns()
    return max(0.0, timeout_ns / 1e9)
