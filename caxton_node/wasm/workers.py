"""The pool of worker processes, seen from the node: started when wanted, replaced when they end.

A sandbox belongs to one worker. When that ends, for whatever reason, the calls under way fail with
`WorkerLost`, which may be tried again; the next call makes the sandbox anew in another process,
from the last snapshot that the node has.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from caxton_node.domain.wasm import InstancePolicy
from caxton_node.wasm.box import Answer, Plan, Snapshot
from caxton_node.wasm.compiling import child_environment
from caxton_node.wasm.errors import (
    GuestRefused,
    LimitName,
    OverLimit,
    SandboxFailed,
    Trapped,
    UnfitModule,
    WorkerLost,
)
from caxton_node.wasm.operations import error_answer
from caxton_node.wasm.wire import (
    Answered,
    Call,
    Called,
    Close,
    Frame,
    HostAsk,
    Open,
    Ping,
    ReadyToWork,
    Said,
    Snapshotted,
    Stop,
    TakeSnapshot,
    Warm,
    Wire,
)

__all__ = ["WorkerBox", "WorkerPool"]

START_S_MAX: Final = 15.0
"""In which a new worker must have said that it is ready."""

RESTART_PAUSE_S: Final = 0.2
"""Least time between two starts of one worker: a guest that kills it each time must not spin."""

ASKS_AT_ONCE_MAX: Final = 4_096
"""Host calls of one worker that may be under way."""

PING_EVERY_S: Final = 2.0
SILENCE_S_MAX: Final = 10.0
"""A worker with calls under way that says nothing for so long, though it is pinged, hangs."""

_LIMITS: Final[dict[str, LimitName]] = {
    "time": "time",
    "cpu": "cpu",
    "fuel": "fuel",
    "output": "output",
    "memory": "memory",
}

_log = logging.getLogger("caxton.wasm")


@dataclass(slots=True, eq=False)
class _Pending:
    done: "asyncio.Future[Called]"
    answer: Answer


class WorkerPool:
    """The workers of a node.

    Args:
        tasks: Owns what answers guests' host calls.
        worker_count: Processes at most.
    """

    def __init__(self, tasks: asyncio.TaskGroup, worker_count: int) -> None:
        self._tasks = tasks
        self._workers = [WorkerProcess(tasks) for _ in range(worker_count)]
        self._numbers = count(1)

    def open(self, plan: Plan) -> "WorkerBox":
        """Return a sandbox in the worker that has the fewest. Nothing is started yet."""
        worker = min(self._workers, key=lambda one: len(one.boxes))
        box = WorkerBox(worker, next(self._numbers), plan)
        worker.boxes[box.number] = box
        return box

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [worker.pid for worker in self._workers if worker.pid]

    @property
    def starts(self) -> int:
        """How many processes were started."""
        return sum(worker.starts for worker in self._workers)

    async def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            await worker.close()


class WorkerProcess:
    """One worker and what replaces it.

    Args:
        tasks: Owns what answers guests' host calls.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.boxes: dict[int, WorkerBox] = {}
        self.starts = 0
        self.is_confined = False
        self.generation = 0
        """Grows with every loss: a sandbox of an earlier one is gone."""
        self._tasks = tasks
        self._process: asyncio.subprocess.Process | None = None
        self._wire: Wire | None = None
        self._pending: dict[int, _Pending] = {}
        self._numbers = count(1)
        self._starting = asyncio.Lock()
        self._ready: asyncio.Future[None] | None = None
        self._started_at_s = 0.0
        self._heard_at_s = 0.0
        self._asks_under_way = 0
        self._is_closed = False
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None or self._wire is None else self._process.pid

    async def wire(self) -> Wire:
        """Return the way to a worker that runs.

        Raises:
            WorkerLost: It cannot be started.
        """
        if self._wire is not None:
            return self._wire
        async with self._starting:
            if self._wire is None:
                if self._is_closed:
                    raise WorkerLost("the node is stopping")
                pause_s = self._started_at_s + RESTART_PAUSE_S - time.monotonic()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                self._wire = await self._start()
                assert self._process is not None, "it was started"
                self._heard_at_s = time.monotonic()
                self._watcher = self._tasks.create_task(self._watch(self._wire, self._process))
            return self._wire

    async def _start(self) -> Wire:
        own_end, other_end = socket.socketpair()
        own_end.setblocking(False)
        self._started_at_s = time.monotonic()
        self.starts += 1
        self._ready = asyncio.get_running_loop().create_future()
        wire = Wire(self._take, self._lose)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "caxton_node.wasm.worker",
                str(other_end.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(other_end.fileno(),),
                env=child_environment(),
            )
            await asyncio.get_running_loop().create_unix_connection(lambda: wire, sock=own_end)
        except OSError as error:
            own_end.close()
            raise WorkerLost(f"a worker cannot be started: {error}") from None
        finally:
            other_end.close()
        try:
            async with asyncio.timeout(START_S_MAX):
                await self._ready
        except TimeoutError:
            self._process.kill()
            raise WorkerLost(f"a worker was not ready within {START_S_MAX:g} s") from None
        return wire

    def _take(self, frame: Frame) -> None:
        self._heard_at_s = time.monotonic()
        match frame:
            case Called():
                pending = self._pending.pop(frame.number, None)
                if pending is not None and not pending.done.done():
                    pending.done.set_result(frame)
            case HostAsk():
                if self._asks_under_way >= ASKS_AT_ONCE_MAX:
                    self._reply(frame.number, error_answer("rate_limited", "too many at once"))
                else:
                    self._tasks.create_task(self._answer(frame))
            case Said():
                box = self.boxes.get(frame.box)
                if box is not None:
                    box.plan.log(frame.level, frame.text)
            case Snapshotted():
                box = self.boxes.get(frame.box)
                if box is not None:
                    box.note_state(frame.state)
            case ReadyToWork():
                self.is_confined = frame.is_confined
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case _:
                _log.error("a worker said what only the node says; it is ended")
                self._kill()

    async def _answer(self, asked: HostAsk) -> None:
        pending = self._pending.get(asked.call)
        if pending is None:
            answer = error_answer("denied", f"{asked.operation} can be asked within a call only")
        else:
            self._asks_under_way += 1
            try:
                answer = await pending.answer(asked.operation, asked.arguments)
            finally:
                self._asks_under_way -= 1
        self._reply(asked.number, answer)

    def _reply(self, number: int, answer: bytes) -> None:
        if self._wire is not None:
            self._wire.send(Answered(number, answer))

    def _lose(self, why: str) -> None:
        if self._wire is None and self._ready is not None and not self._ready.done():
            self._ready.set_exception(WorkerLost(f"a worker ended as it began: {why}"))
        self._wire = None
        self.generation += 1
        pending, self._pending = self._pending, {}
        if pending and not self._is_closed:
            _log.error("a worker with %d calls under way has ended: %s", len(pending), why)
        for one in pending.values():
            if not one.done.done():
                one.done.set_exception(WorkerLost("the process that ran the guest has ended"))
        # It may live on and do nothing: the event loop sees it to its end.
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _watch(self, wire: Wire, process: asyncio.subprocess.Process) -> None:
        """End a worker that hangs: guests are sliced, so that it always finds time to answer."""
        while self._wire is wire:
            await asyncio.sleep(PING_EVERY_S)
            if not self._pending:
                self._heard_at_s = time.monotonic()
            elif time.monotonic() - self._heard_at_s > SILENCE_S_MAX:
                _log.error("a worker hangs; it is ended")
                process.kill()
                return
            wire.send(Ping())

    async def ask(self, call: Callable[[int], Frame], answer: Answer) -> Called:
        """Send what `call` makes of a number, and return what comes of it.

        Args:
            call: Makes the frame.
            answer: Answers what the guest asks meanwhile.

        Raises:
            WorkerLost: It cannot be started, or has ended.
        """
        wire = await self.wire()
        number = next(self._numbers)
        pending = _Pending(asyncio.get_running_loop().create_future(), answer)
        self._pending[number] = pending
        wire.send(call(number))
        try:
            # The worker bounds the call; a worker that hangs is ended by whoever watches it.
            return await pending.done
        except asyncio.CancelledError:
            wire.send(Stop(number))
            raise
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        """End the process."""
        self._is_closed = True
        if self._watcher is not None:
            self._watcher.cancel()
        if self._wire is not None:
            self._wire.close()
        if self._process is not None:
            await _reap(self._process)


async def _reap(process: asyncio.subprocess.Process) -> None:
    """See a process to its end."""
    try:
        async with asyncio.timeout(2.0):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class WorkerBox:
    """A sandbox in a worker. Implements `Box`.

    Args:
        worker: Whose it is.
        number: By which the worker knows it.
        plan: What it is made of.
    """

    def __init__(self, worker: WorkerProcess, number: int, plan: Plan) -> None:
        self.number = number
        self.plan = plan
        self._worker = worker
        self._snapshot: Snapshot | None = None
        self._opened_in: tuple[int, Wire] | None = None

    def restore(self, snapshot: Snapshot | None) -> None:
        """Set what a new guest goes on from."""
        self._snapshot = snapshot

    def note_state(self, state: bytes) -> None:
        """Take the guest's state as the worker sent it: what another worker goes on from."""
        self._snapshot = Snapshot(state, self.plan.version)
        self.plan.on_snapshot(state)

    async def call(self, function: str, data: bytes | None, answer: Answer) -> bytes | None:
        """Call a function of the guest."""
        await self._opened()
        called = await self._worker.ask(
            lambda number: Call(number, self.number, function, data), answer
        )
        return _result(called)

    async def warm(self, snapshot: Snapshot | None = None) -> None:
        """Start the guest."""
        if snapshot is not None:
            self._snapshot = snapshot
        await self._opened()
        given = None if snapshot is None else (snapshot.state, snapshot.version)
        called = await self._worker.ask(lambda number: Warm(number, self.number, given), _denied)
        _result(called)

    async def take_snapshot(self) -> bytes | None:
        """Return the guest's state."""
        await self._opened()
        called = await self._worker.ask(
            lambda number: TakeSnapshot(number, self.number, ""), _denied
        )
        return _result(called)

    async def _opened(self) -> None:
        wire = await self._worker.wire()
        here = (self._worker.generation, wire)
        if self._opened_in == here:
            return
        plan, snapshot = self.plan, self._snapshot
        self._opened_in = here
        wire.send(
            Open(
                box=self.number,
                file=str(plan.file),
                shape=plan.shape.value,
                limits=plan.limits,
                is_fresh=plan.policy is InstancePolicy.FRESH,
                parameters=plan.parameters,
                secret_names=plan.secret_names,
                environment=plan.environment,
                snapshot=None if snapshot is None else (snapshot.state, snapshot.version),
            )
        )

    async def close(self) -> None:
        """Throw the sandbox away."""
        self._worker.boxes.pop(self.number, None)
        if self._opened_in is not None:
            self._opened_in[1].send(Close(self.number))
            self._opened_in = None


async def _denied(operation: str, _: bytes) -> bytes:
    return error_answer("denied", f"{operation} is not answered while a guest gives its state")


def _result(called: Called) -> bytes | None:
    """Return the result of a call.

    Raises:
        SandboxFailed: It refused, broke, or was stopped.
        UnfitModule: It cannot be loaded.
    """
    if called.kind == "ok":
        return called.data
    reason = (called.data or b"").decode("utf-8", "replace")
    match called.kind:
        case "refused":
            raise GuestRefused(called.detail, reason)
        case "limit":
            raise OverLimit(_LIMITS.get(called.detail, "time"), reason)
        case "unfit":
            raise UnfitModule(called.detail, reason)
        case "trapped":
            raise Trapped(reason)
        case _:
            raise SandboxFailed(reason)
