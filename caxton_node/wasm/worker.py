"""The process that runs guests nobody vouches for.

    python -m caxton_node.wasm.worker DESCRIPTOR

It talks to its node over one socket and has nothing else: no network, no secrets, no files but the
compiled guests. When the node goes, it goes. Whatever happens to it, the node lives on.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from functools import partial
from typing import Final, assert_never

import uvloop

from caxton_node.domain.wasm import InstancePolicy
from caxton_node.wasm.box import Snapshot
from caxton_node.wasm.confinement import confine
from caxton_node.wasm.errors import (
    GuestRefused,
    OverLimit,
    SandboxFailed,
    Trapped,
    UnfitModule,
)
from caxton_node.wasm.programs import Programs, open_programs
from caxton_node.wasm.sandbox import Sandbox
from caxton_node.wasm.shapes import Shape
from caxton_node.wasm.surroundings import Surroundings
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

__all__ = ["main"]

SNAPSHOT_EVERY_S: Final = 1.0
"""How often guests that were called since are asked for their state."""


class Worker:
    """Acts on what the node says.

    Args:
        programs: Loads compiled guests.
        tasks: Owns the calls under way.
    """

    def __init__(self, programs: Programs, tasks: asyncio.TaskGroup) -> None:
        self._programs = programs
        self._tasks = tasks
        self._boxes: dict[int, Sandbox] = {}
        self._unfit: dict[int, UnfitModule] = {}
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._next_ask = 0
        self.is_over = asyncio.Event()
        self.is_confined = False
        self.wire = Wire(self._act, lambda _: self.is_over.set())

    def _act(self, frame: Frame) -> None:
        match frame:
            case Open():
                self._open(frame)
            case Call():
                self._begin(frame.number, self._call(frame))
            case TakeSnapshot() | Warm():
                self._begin(frame.number, self._call(frame))
            case Stop():
                task = self._calls.get(frame.number)
                if task is not None:
                    task.cancel()
            case Close():
                box = self._boxes.pop(frame.box, None)
                if box is not None:
                    self._tasks.create_task(box.close())
            case Ping():
                self.wire.send(ReadyToWork(os.getpid(), self.is_confined))
            case Answered():
                waiting = self._asked.pop(frame.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame.answer)
            case ReadyToWork() | Called() | Snapshotted() | HostAsk() | Said():
                raise AssertionError(f"the node does not say {type(frame).__name__}")
            case _:
                assert_never(frame)

    def _open(self, frame: Open) -> None:
        surroundings = Surroundings(
            ask_host=partial(self._ask, frame.box, 0),
            log=partial(self._say, frame.box),
            parameters=frame.parameters,
            secret_names=frame.secret_names,
            environment=frame.environment,
            host_calls_per_s=frame.limits.host_calls_per_s,
        )
        try:
            self._boxes[frame.box] = self._programs.sandbox(
                frame.file,
                Shape(frame.shape),
                surroundings,
                frame.limits,
                policy=InstancePolicy.FRESH if frame.is_fresh else InstancePolicy.KEPT,
                snapshot=None if frame.snapshot is None else Snapshot(*frame.snapshot),
            )
        except UnfitModule as problem:
            self._unfit[frame.box] = problem

    def _say(self, box: int, level: str, text: str) -> None:
        self.wire.send(Said(box, level, text))

    async def _ask(self, box: int, call: int, operation: str, arguments: bytes) -> bytes:
        self._next_ask += 1
        number = self._next_ask
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        self.wire.send(HostAsk(number, box, call, operation, arguments))
        try:
            return await waiting
        finally:
            self._asked.pop(number, None)

    def _begin(self, number: int, call: "asyncio._CoroutineLike[None]") -> None:
        task = self._calls[number] = self._tasks.create_task(call)
        task.add_done_callback(lambda _: self._calls.pop(number, None))

    async def _call(self, frame: Call | TakeSnapshot | Warm) -> None:
        self.wire.send(await self._outcome(frame))

    async def _outcome(self, frame: Call | TakeSnapshot | Warm) -> Called:
        number, box = frame.number, frame.box
        sandbox = self._boxes.get(box)
        if sandbox is None:
            problem = self._unfit.get(box)
            detail = "there is no such sandbox" if problem is None else problem.detail
            return Called(number, "unfit", detail.encode(), "unloadable")
        try:
            if isinstance(frame, Warm):
                await sandbox.warm(None if frame.snapshot is None else Snapshot(*frame.snapshot))
                return Called(number, "ok", None)
            if isinstance(frame, TakeSnapshot):
                taken = await sandbox.take_snapshot(frame.version)
                return Called(number, "ok", None if taken is None else taken.state)
            ask = partial(self._ask, box, number)
            return Called(number, "ok", await sandbox.call(frame.function, frame.data, ask))
        except GuestRefused as error:
            return Called(number, "refused", str(error).encode(), error.code)
        except OverLimit as error:
            return Called(number, "limit", str(error).encode(), error.limit)
        except Trapped as error:
            return Called(number, "trapped", str(error).encode())
        except SandboxFailed as error:
            return Called(number, "trapped", str(error).encode())

    async def keep_snapshots(self) -> None:
        """Send the state of guests that changed, every so often, for ever."""
        while True:
            await asyncio.sleep(SNAPSHOT_EVERY_S)
            for number, box in list(self._boxes.items()):
                if not box.is_changed or box.is_busy or not box.is_alive:
                    continue
                before = box.snapshot
                try:
                    taken = await box.take_snapshot("")
                except SandboxFailed as error:
                    box.is_changed = False
                    self._say(number, "warning", f"its state could not be taken: {error}")
                    continue
                if taken is not None and taken != before:
                    self.wire.send(Snapshotted(number, taken.state))


async def work(descriptor: int) -> None:
    """Serve the node at the other end of a socket until it hangs up."""
    own_end = socket.socket(fileno=descriptor)
    own_end.setblocking(False)
    with open_programs() as programs:
        async with asyncio.TaskGroup() as tasks:
            worker = Worker(programs, tasks)
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: worker.wire, sock=own_end)
            worker.is_confined = confine()
            worker.wire.send(ReadyToWork(os.getpid(), worker.is_confined))
            chore = tasks.create_task(worker.keep_snapshots())
            await worker.is_over.wait()
            chore.cancel()
            # Guests that run are not waited for: their node has gone.
            os._exit(0)


def main(arguments: list[str]) -> int:
    """Run the worker. Returns the exit code."""
    # The node ends its workers itself; a Ctrl-C in its terminal reaches them too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(work(int(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
