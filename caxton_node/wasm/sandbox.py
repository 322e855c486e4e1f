"""One guest in its sandbox: called by one caller at a time, thrown away when it breaks.

A sandbox outlives its guest. When a call traps or is stopped, what is left of the guest is
dropped, and the next call gets a new one that goes on from the last snapshot.
"""

import asyncio
import time
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from caxton_node.domain.wasm import GuestLimits, InstancePolicy
from caxton_node.wasm.box import Snapshot
from caxton_node.wasm.engine import Engine
from caxton_node.wasm.errors import GuestRefused, Trapped
from caxton_node.wasm.fibers import Fiber, StoreLimits
from caxton_node.wasm.surroundings import AskHost, Surroundings

__all__ = ["CALLS_WAITING_MAX", "Guest", "GuestMaker", "Sandbox"]

CALLS_WAITING_MAX: Final = 10_000
"""Calls that may wait for one sandbox. One more is refused."""

START_LIMITS_S: Final = (10.0, 5.0)
"""Time and processor time in which a guest must have started."""


class Guest(Protocol):
    """A running guest, whatever its shape. Functions go by their names of ABI 1."""

    async def start(self, limits: GuestLimits) -> None:
        """Instantiate it.

        Raises:
            SandboxFailed: It broke, or took too long.
        """
        ...

    def has(self, name: str) -> bool:
        """Return whether it can be called so."""
        ...

    async def call(self, name: str, data: bytes | None, limits: GuestLimits) -> bytes | None:
        """Call it.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        ...


class GuestMaker(Protocol):
    """Makes a guest on a fresh fiber."""

    def __call__(self, fiber: Fiber, surroundings: Surroundings) -> Guest:
        """Return a guest that is not started yet."""
        ...


class Sandbox:
    """The sandbox of one guest.

    Args:
        engine: That its program was loaded by.
        make: Makes the guest.
        surroundings: Who answers what it asks.
        limits: Of each call.
        policy: Whether the guest lives for one call or for many.
        snapshot: What it goes on from.
    """

    def __init__(
        self,
        engine: Engine,
        make: GuestMaker,
        surroundings: Surroundings,
        limits: GuestLimits,
        *,
        policy: InstancePolicy = InstancePolicy.KEPT,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.surroundings = surroundings
        self.limits = limits
        self.snapshot = snapshot
        self.is_changed = False
        """Whether the guest was called since the last snapshot."""
        self.starts = 0
        """How often a guest was started."""
        self.run_s = 0.0
        """Time spent in calls, added up."""
        self._engine = engine
        self._make = make
        self._policy = policy
        self._fiber: Fiber | None = None
        self._guest: Guest | None = None
        self._owner = asyncio.Lock()
        self._waiting = 0

    @property
    def is_busy(self) -> bool:
        """Whether somebody calls it now."""
        return self._owner.locked()

    @property
    def is_alive(self) -> bool:
        """Whether it holds a guest that can go on."""
        return self._fiber is not None and not self._fiber.is_dead

    async def call(
        self, name: str, data: bytes | None, ask_host: AskHost | None = None
    ) -> bytes | None:
        """Call a function of the guest; calls queue in order.

        Args:
            name: As ABI 1 has it: `handle_message`, `list_tools`, `handle_tool_call`.
            data: JSON; None for a function without input.
            ask_host: Who answers what the guest asks within this call.

        Returns:
            JSON; None when the guest has nothing to say.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        if self._waiting >= CALLS_WAITING_MAX:
            raise GuestRefused("unavailable", f"{CALLS_WAITING_MAX} calls wait for this guest")
        self._waiting += 1
        try:
            async with self._owner:
                if ask_host is not None:
                    self.surroundings.ask_host = ask_host
                guest = await self._started()
                self.is_changed = True
                try:
                    return checked(name, await self._timed(guest, name, data))
                finally:
                    if self._policy is InstancePolicy.FRESH:
                        self._discard()
        finally:
            self._waiting -= 1

    async def take_snapshot(self, version: str) -> Snapshot | None:
        """Ask the guest for its state and keep it; None when it has none to give.

        Raises:
            SandboxFailed: It refused, broke, or was stopped.
        """
        async with self._owner:
            guest = await self._started()
            if not guest.has("snapshot"):
                return None
            state = checked("snapshot", await self._timed(guest, "snapshot", None))
            self.is_changed = False
            if state is None:
                return self.snapshot
            self.snapshot = Snapshot(state, version)
            return self.snapshot

    async def warm(self, snapshot: Snapshot | None = None) -> None:
        """Start the guest, if it is not running; with a snapshot, anew from that.

        Raises:
            SandboxFailed: It broke, took too long, or does not take the snapshot.
        """
        async with self._owner:
            if snapshot is not None:
                self._discard()
                self.snapshot = snapshot
            await self._started()

    async def close(self) -> None:
        """Throw the guest away, once nobody calls it."""
        async with self._owner:
            self._discard()

    async def _timed(self, guest: Guest, name: str, data: bytes | None) -> bytes | None:
        started_s = time.perf_counter()
        if self.limits.fuel is not None and self._fiber is not None:
            self._fiber.set_fuel(self.limits.fuel)
        try:
            return await guest.call(name, data, self.limits)
        except GuestRefused:
            raise
        except BaseException:
            self._discard()
            raise
        finally:
            self.run_s += time.perf_counter() - started_s

    async def _started(self) -> Guest:
        if self._guest is not None and self._fiber is not None and not self._fiber.is_dead:
            return self._guest
        self._discard()
        fiber = Fiber(self._engine, StoreLimits(self.limits.memory_bytes))
        guest = self._make(fiber, self.surroundings)
        time_s, cpu_s = START_LIMITS_S
        limits = replace(self.limits, time_s=time_s, cpu_s=cpu_s)
        self.starts += 1
        try:
            await guest.start(limits)
            if self.snapshot is not None and guest.has("restore"):
                await guest.call("restore", _restoring(self.snapshot), limits)
        except BaseException:
            fiber.close()
            raise
        self._fiber, self._guest = fiber, guest
        return guest

    def _discard(self) -> None:
        fiber, self._fiber, self._guest = self._fiber, None, None
        if fiber is not None:
            fiber.close()


def _restoring(snapshot: Snapshot) -> bytes:
    return msgspec.json.encode(
        {"state": msgspec.Raw(snapshot.state), "from_version": snapshot.version}
    )


class _Problem(msgspec.Struct, forbid_unknown_fields=True):
    """What a guest returns when it went wrong."""

    error: "_Reason"


class _Reason(msgspec.Struct):
    code: str
    message: str = ""


def checked(name: str, result: bytes | None) -> bytes | None:
    """Return a guest's result if it is JSON in UTF-8.

    Raises:
        GuestRefused: It says that it went wrong.
        Trapped: It is no JSON.
    """
    if result is None:
        return None
    if result.startswith(b'{"error"') or (
        result.lstrip()[:1] == b"{" and b'"error"' in result[:64]
    ):
        try:
            problem = msgspec.json.decode(result, type=_Problem)
        except msgspec.DecodeError:
            pass
        else:
            raise GuestRefused(problem.error.code, problem.error.message)
    try:
        msgspec.json.decode(result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Trapped(f"{name} returned what is no JSON: {error}") from None
    return result
