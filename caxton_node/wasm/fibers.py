"""Guest code on stacks of its own: begun, left in the middle, gone on with, dropped.

A `Fiber` is one store and at most one call in it. A call ends, or leaves the fiber for one of two
reasons: its slice of time is used up, or the guest asks the host for something. Host functions run
on the guest's stack and do nothing there but note what is asked (`Asked`); whoever drives the fiber
answers it on the ordinary stack, in its own time, while other fibers run. Nothing is ever raised
through guest frames.

A call that is given up is dropped with its fiber: what is left of the guest cannot be used again.

Reference: wasmtime's C API, `wasmtime/async.h`. wasmtime-py has these functions only in its
private bindings, and two of them not even there.
"""

import asyncio
import ctypes
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import wasmtime
from wasmtime import _bindings
from wasmtime import _ffi as ffi

from caxton_node.domain.wasm import GuestLimits
from caxton_node.wasm.component_values import decode_arguments
from caxton_node.wasm.engine import Engine
from caxton_node.wasm.errors import OverLimit, SandboxFailed, Trapped
from caxton_node.wasm.slices import SLICE_S

__all__ = ["Asked", "Fiber", "StoreLimits", "component_async_callback", "linker_add_async"]

_LIBRARY: Final[Any] = vars(_bindings)["dll"]

_TRAP_POINTER: Final = ctypes.POINTER(ffi.wasm_trap_t)
_ERROR_POINTER: Final = ctypes.POINTER(ffi.wasmtime_error_t)

COMPONENT_CALLBACK: Final = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.POINTER(ffi.wasmtime_context_t),
    ctypes.POINTER(ffi.wasmtime_component_func_type_t),
    ctypes.POINTER(ffi.wasmtime_component_val_t),
    ctypes.c_size_t,
    ctypes.POINTER(ffi.wasmtime_component_val_t),
    ctypes.c_size_t,
    ctypes.POINTER(_ERROR_POINTER),
    ctypes.POINTER(ffi.wasmtime_async_continuation_t),
)

_add_component_async: Final = _LIBRARY.wasmtime_component_linker_instance_add_func_async
_add_component_async.restype = _ERROR_POINTER
_add_component_async.argtypes = [
    ctypes.POINTER(ffi.wasmtime_component_linker_instance_t),
    ctypes.c_char_p,
    ctypes.c_size_t,
    COMPONENT_CALLBACK,
    ctypes.c_void_p,
    ctypes.c_void_p,
]

_instantiate_component: Final = _LIBRARY.wasmtime_component_linker_instantiate_async
_instantiate_component.restype = ctypes.POINTER(ffi.wasmtime_call_future_t)
_instantiate_component.argtypes = [
    ctypes.POINTER(ffi.wasmtime_component_linker_t),
    ctypes.POINTER(ffi.wasmtime_context_t),
    ctypes.POINTER(ffi.wasmtime_component_t),
    ctypes.POINTER(ffi.wasmtime_component_instance_t),
    ctypes.POINTER(_ERROR_POINTER),
]

FIRST_CALL_FUEL: Final = 1 << 62
"""For what happens before a bounded call: instantiation has the limits of time."""

TABLE_ELEMENTS_MAX: Final = 1_000_000
INSTANCES_MAX: Final = 64
"""Core instances of one guest: a component is made of several."""
TABLES_MAX: Final = 64
MEMORIES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What one store may hold."""

    memory_bytes: int
    table_elements: int = TABLE_ELEMENTS_MAX
    instances: int = INSTANCES_MAX
    tables: int = TABLES_MAX
    memories: int = MEMORIES_MAX


@dataclass(slots=True, eq=False)
class Asked:
    """What a guest asks of the host while it waits on its fiber."""

    name: str
    arguments: Any
    """Integers of a core function; values of a component's function, or what was wrong with them.
    """
    results: Any
    """Where the answer goes. Stays valid until the fiber goes on."""
    given: int = 0
    """How many results it has: none or one."""


Answer = Callable[[Asked], Awaitable[bool]]
"""Answers the guest; False leaves it waiting, and the drive ends there."""


class Fiber:
    """One store and the call that runs in it.

    Args:
        engine: That the guest was compiled by.
        limits: Of the store.
    """

    def __init__(self, engine: Engine, limits: StoreLimits) -> None:
        self.engine = engine
        self.asked: Asked | None = None
        self.is_answered = False
        self.is_dead = False
        """A call was given up or broke: the store holds what is left of a guest."""
        self._store = wasmtime.Store(engine.wasmtime)
        self._store.set_limits(
            limits.memory_bytes,
            limits.table_elements,
            limits.instances,
            limits.tables,
            limits.memories,
        )
        self.context = self._store._context()  # noqa: SLF001 - the handle of the C API
        if engine.is_metered:
            self._store.set_fuel(FIRST_CALL_FUEL)
        self._future: Any = None
        self._trap: Any = _TRAP_POINTER()
        self._error: Any = _ERROR_POINTER()
        self._kept: Any = None
        ffi.wasmtime_context_set_epoch_deadline(self.context, 1)
        # What the binding says it returns is not there: the function returns nothing.
        ffi.wasmtime_context_epoch_deadline_async_yield_and_update(self.context, 1)

    @property
    def store(self) -> wasmtime.Store:
        """For what looks into the guest while it does not run."""
        return self._store

    @property
    def is_waiting(self) -> bool:
        """Whether a call is under way that was left waiting for the host."""
        return self._future is not None

    def set_fuel(self, fuel: int) -> None:
        """Bound the instructions of what runs next."""
        if self.engine.is_metered:
            self._store.set_fuel(fuel)

    # What can be begun.

    def begin_core(
        self, function: Any, arguments: Any, count: int, results: Any, given: int
    ) -> None:
        """Begin a call of a core function. All that is passed is kept until it ends."""
        self._kept = (function, arguments, results)
        self._begin(
            ffi.wasmtime_func_call_async(
                self.context,
                ctypes.byref(function),
                arguments,
                count,
                results,
                given,
                ctypes.byref(self._trap),
                ctypes.byref(self._error),
            )
        )

    def begin_component(
        self, function: Any, arguments: Any, count: int, results: Any, given: int
    ) -> None:
        """Begin a call of a component's function."""
        self._kept = (function, arguments, results)
        self._begin(
            ffi.wasmtime_component_func_call_async(
                ctypes.byref(function),
                self.context,
                arguments,
                count,
                results,
                given,
                ctypes.byref(self._error),
            )
        )

    def begin_core_instance(self, linker: wasmtime.Linker, module: wasmtime.Module) -> Any:
        """Begin to instantiate a module; return the C value that will hold the instance."""
        instance = ffi.wasmtime_instance_t()
        self._kept = (linker, module, instance)
        self._begin(
            ffi.wasmtime_linker_instantiate_async(
                linker.ptr(),
                self.context,
                module.ptr(),
                ctypes.byref(instance),
                ctypes.byref(self._trap),
                ctypes.byref(self._error),
            )
        )
        return instance

    def begin_component_instance(self, linker: Any, component: Any) -> Any:
        """Begin to instantiate a component; return the C value that will hold the instance."""
        instance = ffi.wasmtime_component_instance_t()
        self._kept = (linker, component, instance)
        self._begin(
            _instantiate_component(
                linker.ptr(),
                self.context,
                component.ptr(),
                ctypes.byref(instance),
                ctypes.byref(self._error),
            )
        )
        return instance

    def _begin(self, future: Any) -> None:
        assert self._future is None, "one call at a time"
        assert not self.is_dead, "a store in which a call broke is not used again"
        ffi.wasmtime_context_set_epoch_deadline(self.context, 1)
        self._future = future

    # Driving.

    async def drive(self, answer: Answer, limits: GuestLimits) -> bool:
        """Run the call until it ends; return whether it has, or was left waiting.

        Args:
            answer: Answers what the guest asks.
            limits: Of the call; `time_s` counts from here.

        Raises:
            Trapped: The guest broke.
            OverLimit: It was stopped.
        """
        self.engine.note_call()
        started_s = time.perf_counter()
        try:
            # Most calls end in their first slice and ask for nothing.
            is_late = self.engine.slices.is_spent
            if not is_late and not self.is_waiting_for_host:
                if self._advance():
                    return self._end()
                self._note_slice()
            left_s = limits.time_s - (time.perf_counter() - started_s)
            async with asyncio.timeout(left_s) as deadline:
                if not await self._drive(answer, limits.cpu_s, is_newcomer=is_late):
                    return False
        except TimeoutError:
            self.drop()
            if not deadline.expired():
                raise
            raise OverLimit("time", f"the call took longer than {limits.time_s:g} s") from None
        except BaseException:
            self.drop()
            raise
        return self._end()

    @property
    def is_waiting_for_host(self) -> bool:
        """Whether the guest has asked something that is not answered yet."""
        return self.asked is not None

    def _advance(self) -> bool:
        """Run the guest until it ends or leaves its fiber; return whether it has ended."""
        engine = self.engine
        engine.current = self
        try:
            return bool(ffi.wasmtime_call_future_poll(self._future))
        finally:
            engine.current = None

    def _note_slice(self) -> None:
        """Note what the guest left its fiber for: its slice may be used up."""
        if self.asked is None:
            self.engine.slices.note_spent()

    async def _drive(self, answer: Answer, cpu_s: float, *, is_newcomer: bool) -> bool:
        slices = self.engine.slices
        spent_s, slice_from_s = 0.0, time.thread_time()
        while True:
            if self.asked is not None:
                if not await answer(self.asked):
                    return False
                self.asked, self.is_answered = None, True
                self.engine.note_call()
            from_s = time.thread_time()
            # Time of the thread: what a guest sleeps through is nobody's.
            if slices.is_spent or from_s - slice_from_s > SLICE_S:
                slices.note_spent()
                await slices.wait(is_newcomer=is_newcomer)
                is_newcomer = False
                from_s = slice_from_s = time.thread_time()
            is_over = self._advance()
            spent_s += time.thread_time() - from_s
            if is_over:
                return True
            if spent_s > cpu_s:
                raise OverLimit("cpu", f"the call used more than {cpu_s:g} s of processor time")
            self._note_slice()

    def note_asked(self, asked: Asked) -> None:
        """Note what the guest asks: called on the guest's stack."""
        self.asked = asked
        self.is_answered = False

    def _end(self) -> bool:
        """Clean up after a call that ended, well or not; return True.

        Raises:
            Trapped: It broke.
            OverLimit: It used up its instructions.
        """
        ffi.wasmtime_call_future_delete(self._future)
        self._future = self._kept = None
        if not self._trap and not self._error:
            return True
        self.is_dead = True
        if self._trap:
            trap = wasmtime.Trap._from_ptr(self._trap)  # noqa: SLF001 - the way the library makes one
            self._trap = _TRAP_POINTER()
            text = str(trap)
        else:
            error = wasmtime.WasmtimeError._from_ptr(self._error)  # noqa: SLF001 - as the library makes one
            self._error = _ERROR_POINTER()
            text = str(error)
        raise failure_of(text)

    def drop(self) -> None:
        """Give up the call under way, and the store with it."""
        self.is_dead = True
        self.asked = None
        if self._future is not None:
            ffi.wasmtime_call_future_delete(self._future)
            self._future = self._kept = None

    def close(self) -> None:
        """Release the store and all that the guest holds."""
        self.drop()
        self._store.close()


def failure_of(text: str) -> SandboxFailed:
    """Return how a call failed, by what the engine says."""
    if "all fuel consumed" in text:
        return OverLimit("fuel", "the call used up its instructions")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = next(
        (line for line in reversed(lines) if "wasm trap:" in line), lines[-1] if lines else "a trap"
    )
    return Trapped(reason.removeprefix("1: ").removeprefix("Caused by:").strip() or "a trap")


# Host functions.


def linker_add_async(
    engine: Engine, linker: wasmtime.Linker, module: str, name: str, signature: wasmtime.FuncType
) -> Any:
    """Define a host function of core modules that asks the fiber's driver.

    Returns:
        What must be kept as long as the linker lives.
    """
    types = [str(one) for one in signature.params]
    full_name = f"{module}.{name}"

    def ask(
        _env: Any,
        _caller: Any,
        arguments: Any,
        _count: int,
        results: Any,
        _given: int,
        _trap: Any,
        continuation: Any,
    ) -> None:
        continuation.contents.callback = engine.answered
        values = [
            arguments[place].of.i64 if kind == "i64" else arguments[place].of.i32
            for place, kind in enumerate(types)
        ]
        engine.current.note_asked(Asked(full_name, values, results))

    callback = ffi.wasmtime_func_async_callback_t(ask)
    module_bytes, name_bytes = module.encode(), name.encode()
    error: Any = ffi.wasmtime_linker_define_async_func(
        linker.ptr(),
        ctypes.create_string_buffer(module_bytes),
        len(module_bytes),
        ctypes.create_string_buffer(name_bytes),
        len(name_bytes),
        signature.ptr(),
        callback,
        None,
        ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )
    assert not error, "the names of host functions are our own"
    return callback


def component_async_callback(engine: Engine, instance: Any, name: str, full_name: str) -> Any:
    """Define a host function of components that asks the fiber's driver.

    Args:
        engine: That runs it.
        instance: The linker's instance that it is added to.
        name: Within the instance.
        full_name: As `Asked` gives it.

    Returns:
        What must be kept as long as the linker lives.
    """

    def ask(
        _env: Any,
        _context: Any,
        _type: Any,
        arguments: Any,
        count: int,
        results: Any,
        given: int,
        _error: Any,
        continuation: Any,
    ) -> None:
        continuation.contents.callback = engine.answered
        fiber = engine.current
        values: Any
        try:
            values = decode_arguments(fiber.context, arguments, count)
        except BaseException as error:
            values = error
        fiber.note_asked(Asked(full_name, values, results, given))

    callback = COMPONENT_CALLBACK(ask)
    encoded = name.encode()
    error: Any = _add_component_async(instance.ptr(), encoded, len(encoded), callback, None, None)
    assert not error, "the names of host functions are our own"
    return callback
