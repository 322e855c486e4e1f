"""Compiled components, ready to be instantiated: code and what it is linked with.

What a component imports of `caxton:guest` and of the WASI functions that are ours asks the fiber's
driver. Everything else that it imports (it was looked at when it was admitted) traps when it is
called.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime.component import Component, Linker, ResourceType

from caxton_node.wasm.component_self_test import check_values
from caxton_node.wasm.component_types import report_component
from caxton_node.wasm.engine import Engine
from caxton_node.wasm.errors import UnfitModule
from caxton_node.wasm.fibers import component_async_callback
from caxton_node.wasm.operations import OPERATIONS
from caxton_node.wasm.wasi2 import WASI2_FUNCTIONS, WASI2_RESOURCES

__all__ = ["GUEST_PACKAGE", "ComponentProgram", "load_component_program"]

GUEST_PACKAGE: Final = "caxton:guest/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentProgram:
    """A component."""

    component: Component
    linker: Linker
    exports: frozenset[str]
    callbacks: tuple[Any, ...] = field(repr=False)
    """What the linker calls; kept as long as it."""


def load_component_program(engine: Engine, file: Path) -> ComponentProgram:
    """Load compiled code and link it.

    Args:
        engine: To run it.
        file: Made by `caxton_node.wasm.compiling` on this machine: it is native code.

    Raises:
        UnfitModule: `unloadable`, when the engine does not take it; `import`.
    """
    try:
        component = Component.deserialize_file(engine.wasmtime, str(file))
        check_values(engine.wasmtime)
        report = report_component(component, engine.wasmtime)
        linker = Linker(engine.wasmtime)
        linker.allow_shadowing = True
        # First everything traps; then what is ours takes its place.
        linker.define_unknown_imports_as_traps(component)
        callbacks = tuple(_define(engine, linker, report["imports"]))
    except wasmtime.WasmtimeError as error:
        raise UnfitModule("unloadable", f"the compiled code is not taken: {error}") from None
    return ComponentProgram(
        component=component,
        linker=linker,
        exports=frozenset(report["exports"]),
        callbacks=callbacks,
    )


def _define(engine: Engine, linker: Linker, imports: dict[str, Any]) -> Iterator[Any]:
    """Define what is ours of what a component imports; yield what must be kept."""
    with linker.root() as root:
        for name, items in imports.items():
            if not isinstance(items, dict):
                continue
            interface = name.rpartition("@")[0]
            with root.add_instance(name) as instance:
                for item in items:
                    kind = WASI2_RESOURCES.get(f"{interface}.{item}")
                    if kind is not None:
                        instance.add_resource(item, ResourceType.host(kind), _drop)
                    full_name = _full_name(interface, item)
                    if full_name is not None:
                        yield component_async_callback(engine, instance, item, full_name)


def _full_name(interface: str, item: str) -> str | None:
    """Return how a function of ours goes by; None for what is not ours."""
    if interface.startswith(GUEST_PACKAGE):
        name = f"{interface.removeprefix(GUEST_PACKAGE)}.{item}"
        return name if name in OPERATIONS else None
    name = f"{interface}.{item}"
    return name if name in WASI2_FUNCTIONS else None


def _drop(_store: Any, _rep: int) -> None:
    """Nothing is freed with a handle: what it stands for lives as long as the sandbox."""
