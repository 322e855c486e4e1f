"""Guests of every shape, made from compiled code: what a process that runs sandboxes keeps."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import assert_never

from caxton_node.domain.wasm import GuestLimits, InstancePolicy
from caxton_node.wasm.box import Snapshot
from caxton_node.wasm.component_guest import ComponentGuest
from caxton_node.wasm.component_program import load_component_program
from caxton_node.wasm.core_guest import CoreGuest
from caxton_node.wasm.engine import Engine
from caxton_node.wasm.fibers import Fiber
from caxton_node.wasm.program import load_core_program
from caxton_node.wasm.sandbox import Guest, GuestMaker, Sandbox
from caxton_node.wasm.shapes import Shape
from caxton_node.wasm.slices import Slices
from caxton_node.wasm.stdio_guest import StdioGuest
from caxton_node.wasm.surroundings import Surroundings

__all__ = ["Programs", "open_programs"]


@contextmanager
def open_programs() -> Iterator["Programs"]:
    """Open the engines of this process, for as long as the block lasts."""
    with ExitStack() as stack:
        yield Programs(stack)


class Programs:
    """Loads compiled guests, each once, and makes sandboxes of them.

    Args:
        stack: Owns the engines.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._slices = Slices()
        self._engines: dict[bool, Engine] = {}
        self._makers: dict[tuple[str, bool], GuestMaker] = {}

    def _engine(self, *, is_metered: bool) -> Engine:
        engine = self._engines.get(is_metered)
        if engine is None:
            engine = self._stack.enter_context(Engine(is_metered=is_metered, slices=self._slices))
            self._engines[is_metered] = engine
        return engine

    def sandbox(
        self,
        file: str,
        shape: Shape,
        surroundings: Surroundings,
        limits: GuestLimits,
        *,
        policy: InstancePolicy,
        snapshot: Snapshot | None,
    ) -> Sandbox:
        """Return a sandbox of a guest. Nothing runs yet.

        Args:
            file: Compiled code, made on this machine.
            shape: What it is.
            surroundings: Who answers what it asks.
            limits: Of each call.
            policy: How long a guest lives.
            snapshot: What it goes on from.

        Raises:
            UnfitModule: The engine does not take it.
        """
        is_metered = limits.fuel is not None
        engine = self._engine(is_metered=is_metered)
        make = self._makers.get((file, is_metered))
        if make is None:
            make = self._makers[file, is_metered] = maker(engine, Path(file), shape)
        return Sandbox(engine, make, surroundings, limits, policy=policy, snapshot=snapshot)


def maker(engine: Engine, file: Path, shape: Shape) -> GuestMaker:
    """Load compiled code; return what makes guests of it.

    Raises:
        UnfitModule: The engine does not take it.
    """
    match shape:
        case Shape.CORE_AGENT | Shape.CORE_SERVER:
            core = load_core_program(engine, file)

            def make_core(fiber: Fiber, surroundings: Surroundings) -> Guest:
                return CoreGuest(fiber, core, surroundings)

            return make_core
        case Shape.STDIO_SERVER:
            command = load_core_program(engine, file)

            def make_command(fiber: Fiber, surroundings: Surroundings) -> Guest:
                return StdioGuest(fiber, command, surroundings)

            return make_command
        case Shape.COMPONENT_AGENT | Shape.COMPONENT_SERVER:
            component = load_component_program(engine, file)

            def make_component(fiber: Fiber, surroundings: Surroundings) -> Guest:
                return ComponentGuest(fiber, component, surroundings)

            return make_component
        case _:
            assert_never(shape)
