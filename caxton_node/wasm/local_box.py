"""Sandboxes in the node's own process, for guests that its operator trusts.

The same fibers and limits as in a worker, without the way there and back. A guest that computes
holds the event loop for a slice at a time.
"""

from contextlib import ExitStack

from caxton_node.wasm.box import Answer, Box, Plan, Snapshot
from caxton_node.wasm.programs import Programs
from caxton_node.wasm.sandbox import Sandbox
from caxton_node.wasm.surroundings import Surroundings

__all__ = ["LocalPool"]


class LocalPool:
    """The engines of this process, and the sandboxes in it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._programs = Programs(self._stack)

    def open(self, plan: Plan) -> Box:
        """Return a sandbox. Nothing is started yet."""
        return LocalBox(self._programs, plan)

    def close(self) -> None:
        """Release the engines. No guest runs any more."""
        self._stack.close()


class LocalBox:
    """A sandbox in this process. Implements `Box`.

    Args:
        programs: Loads compiled guests.
        plan: What it is made of.
    """

    def __init__(self, programs: Programs, plan: Plan) -> None:
        self._programs = programs
        self._plan = plan
        self._sandbox: Sandbox | None = None
        self._snapshot: Snapshot | None = None

    def restore(self, snapshot: Snapshot | None) -> None:
        """Set what a new guest goes on from."""
        self._snapshot = snapshot

    def _made(self, answer: Answer) -> Sandbox:
        if self._sandbox is None:
            plan = self._plan
            surroundings = Surroundings(
                ask_host=answer,
                log=plan.log,
                parameters=plan.parameters,
                secret_names=plan.secret_names,
                environment=plan.environment,
                host_calls_per_s=plan.limits.host_calls_per_s,
            )
            self._sandbox = self._programs.sandbox(
                str(plan.file),
                plan.shape,
                surroundings,
                plan.limits,
                policy=plan.policy,
                snapshot=self._snapshot,
            )
        return self._sandbox

    async def call(self, function: str, data: bytes | None, answer: Answer) -> bytes | None:
        """Call a function of the guest."""
        return await self._made(answer).call(function, data, answer)

    async def warm(self, snapshot: Snapshot | None = None) -> None:
        """Start the guest."""
        await self._made(_silent).warm(snapshot)

    async def take_snapshot(self) -> bytes | None:
        """Return the guest's state."""
        taken = await self._made(_silent).take_snapshot("")
        return None if taken is None else taken.state

    async def close(self) -> None:
        """Throw the sandbox away."""
        if self._sandbox is not None:
            await self._sandbox.close()
            self._sandbox = None


async def _silent(operation: str, arguments: bytes) -> bytes:  # noqa: ARG001 - what guests ask
    return b'{"error":{"code":"denied","message":"not while a guest gives its state"}}'
