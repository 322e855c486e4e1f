"""The engine that compiles and runs guests: one configuration, and the clock that slices time.

All that a guest's file may use is switched on here and nothing else. A second configuration counts
instructions, for those whose manifest bounds them; it is slower, and its code is its own.

Every `SLICE_S` a thread moves the engine's *epoch*: guest code that runs then leaves its fiber. The
thread sleeps for good while nothing runs.

Importing this loads the engine's library, some 50 MB: only where guests are run.
"""

import threading
from types import TracebackType
from typing import Any, Final, Self

import wasmtime
from wasmtime import _ffi as ffi

from caxton_node.wasm.configuration import FEATURES_OFF, FEATURES_ON, FIBER_BYTES, STACK_BYTES
from caxton_node.wasm.slices import SLICE_S, Slices

__all__ = ["Engine"]

IDLE_TICKS_MAX: Final = 200
"""Ticks without a call after which the thread sleeps."""


def _configuration(*, is_metered: bool) -> wasmtime.Config:
    config = wasmtime.Config()
    for name in FEATURES_OFF:
        setattr(config, name, False)
    for name in FEATURES_ON:
        setattr(config, name, True)
    config.epoch_interruption = True
    config.consume_fuel = is_metered
    config.max_wasm_stack = STACK_BYTES
    config.strategy = "cranelift"
    config.cranelift_opt_level = "speed"
    config.parallel_compilation = True
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), FIBER_BYTES)
    return config


class Engine:
    """Compiles, loads and slices. Use it as a context manager, on one thread.

    Args:
        is_metered: Whether instructions are counted.
        slices: Whose turn it is; engines of one thread share them.
    """

    def __init__(self, *, is_metered: bool = False, slices: Slices | None = None) -> None:
        self.is_metered = is_metered
        self.slices = Slices() if slices is None else slices
        self.wasmtime = wasmtime.Engine(_configuration(is_metered=is_metered))
        self.current: Any = None
        """The fiber that runs now: host functions find their sandbox by it."""
        self.calls = 0
        """Counts up with every call, so that the thread knows whether anything runs."""
        self._is_asleep = False
        self._is_over = False
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="wasm epochs", daemon=True)
        self.answered = ffi.wasmtime_func_async_continuation_callback_t(self._is_answered)
        """What the engine asks before it lets a fiber go on that waits for the host."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._wanted.set()
        self._thread.join()

    def note_call(self) -> None:
        """Make sure that time is sliced from now on."""
        self.calls += 1
        if self._is_asleep:
            self._wanted.set()

    def _is_answered(self, _: Any) -> bool:
        fiber = self.current
        return fiber is not None and fiber.is_answered

    def _tick(self) -> None:
        seen, idle_ticks = -1, 0
        pause = threading.Event()
        while not self._is_over:
            pause.wait(SLICE_S)
            self.wasmtime.increment_epoch()
            if self.calls != seen or self.current is not None:
                seen, idle_ticks = self.calls, 0
                continue
            idle_ticks += 1
            if idle_ticks >= IDLE_TICKS_MAX:
                self._wanted.clear()
                self._is_asleep = True
                if self.calls == seen:
                    self._wanted.wait()
                self._is_asleep = False
                idle_ticks = 0
