"""What a sandbox has around it: who answers its operations, where its log goes, what it may see.

The local operations, which need no grant and no other process, are answered here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Final

import msgspec

from caxton_node.wasm.operations import OPERATIONS, error_answer, ok_answer
from caxton_node.wasm.rates import Allowance

__all__ = ["LOG_BYTES_PER_S", "RESULT_BYTES_MAX", "AskHost", "Log", "Surroundings"]

LOG_BYTES_PER_S: Final = 64_000
"""Of a guest's log, standard output and standard error."""

LOG_LINE_LENGTH_MAX: Final = 4_000

RESULT_BYTES_MAX: Final = 1_000_000
"""Of a message, an answer, arguments of an operation."""

RANDOM_BYTES_MAX: Final = 1_024

AskHost = Callable[[str, bytes], Awaitable[bytes]]
"""Takes an operation and its arguments as JSON; returns the answer as JSON."""

Log = Callable[[str, str], None]
"""Takes a level and a line."""

_RANDOM: Final = SystemRandom()


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What one sandbox has around it. It outlives the sandbox's stores."""

    ask_host: AskHost
    log: Log
    parameters: bytes = b"{}"
    """JSON."""
    secret_names: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    host_calls_per_s: int = 1_000
    _calls: Allowance = field(init=False)
    _log_room: Allowance = field(init=False)
    _is_log_cut: bool = False

    def __post_init__(self) -> None:
        self._calls = Allowance(self.host_calls_per_s)
        self._log_room = Allowance(LOG_BYTES_PER_S)

    def write_log(self, level: str, text: str) -> None:
        """Write a line to the log, within the rate; what exceeds it is lost, and said once."""
        line = text[:LOG_LINE_LENGTH_MAX]
        if self._log_room.take(len(line) + 1, time.monotonic()):
            self._is_log_cut = False
            self.log(level, line)
        elif not self._is_log_cut:
            self._is_log_cut = True
            self.log("warning", f"(more than {LOG_BYTES_PER_S} bytes a second are left out)")

    async def answer(self, name: str, arguments: bytes) -> bytes:
        """Answer an operation; never raises for what a guest does.

        Args:
            name: Of the operation.
            arguments: A JSON object; empty for none.
        """
        operation = OPERATIONS.get(name)
        if operation is None:
            return error_answer("not_found", f"there is no operation {name[:64]!r}")
        if len(arguments) > RESULT_BYTES_MAX:
            return error_answer("too_large", f"arguments have at most {RESULT_BYTES_MAX:,} bytes")
        try:
            values = msgspec.json.decode(arguments) if arguments else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return error_answer("invalid_arguments", "the arguments are no JSON object")
        if not isinstance(values, dict):
            return error_answer("invalid_arguments", "the arguments are no JSON object")
        known = {key for key, _ in operation.parameters}
        unknown = sorted(values.keys() - known)
        if unknown:
            return error_answer("invalid_arguments", f"{name} takes no {unknown[0][:64]!r}")
        if operation.interface in _LOCAL:
            return await self._answer_locally(name, values)
        if not self._calls.take(1, time.monotonic()):
            return error_answer(
                "rate_limited", f"more than {self.host_calls_per_s} host calls a second"
            )
        return await self.ask_host(name, arguments or b"{}")

    async def _answer_locally(self, name: str, values: Mapping[str, Any]) -> bytes:
        match name:
            case "log.write":
                level, text = values.get("level", "info"), values.get("text", "")
                if level not in _LEVELS or not isinstance(text, str):
                    return error_answer("invalid_arguments", "a level and a text are logged")
                self.write_log(level, text)
                return ok_answer(None)
            case "clock.now-ms":
                return ok_answer(time.time_ns() // 1_000_000)
            case "clock.sleep-ms":
                duration = values.get("duration", 0)
                if isinstance(duration, bool) or not isinstance(duration, int | float):
                    return error_answer("invalid_arguments", "`duration` is a number")
                await asyncio.sleep(max(0.0, min(float(duration), SLEEP_MS_MAX)) / 1000)
                return ok_answer(None)
            case "clock.random-hex":
                count = values.get("byte_count", 0)
                if isinstance(count, bool) or not isinstance(count, int):
                    return error_answer("invalid_arguments", "`byte_count` is a whole number")
                if not 0 <= count <= RANDOM_BYTES_MAX:
                    return error_answer("too_large", f"at most {RANDOM_BYTES_MAX} bytes at once")
                return ok_answer(_RANDOM.randbytes(count).hex())
            case "config.parameters":
                return b'{"ok":' + self.parameters + b"}"
            case "secrets.names":
                return ok_answer(list(self.secret_names))
            case _:
                raise AssertionError(f"{name} is no local operation")


_LEVELS: Final = ("debug", "info", "warning", "error")
_LOCAL: Final = frozenset({"log", "clock", "config", "secrets"})
SLEEP_MS_MAX: Final = 86_400_000.0
