"""Compiled core modules, ready to be instantiated: code and what it is linked with.

Shared by all sandboxes of one guest. Reference: docs/reference/wasm-abi.md, "Four shapes".
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime

from caxton_node.wasm.admission import OWN_IMPORTS, OWN_MODULE
from caxton_node.wasm.engine import Engine
from caxton_node.wasm.errors import UnfitModule
from caxton_node.wasm.fibers import linker_add_async
from caxton_node.wasm.wasi_functions import WASI_FUNCTIONS, WASI_MODULE

__all__ = ["CoreProgram", "load_core_program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreProgram:
    """A core module."""

    module: wasmtime.Module
    linker: wasmtime.Linker
    exports: frozenset[str]
    callbacks: tuple[Any, ...] = field(repr=False)
    """What the linker calls; kept as long as it."""


def load_core_program(engine: Engine, file: Path) -> CoreProgram:
    """Load compiled code and link it.

    Args:
        engine: To run it.
        file: Made by `caxton_node.wasm.compiling` on this machine: it is native code.

    Raises:
        UnfitModule: `unloadable`, when the engine does not take it; `import`.
    """
    try:
        module = wasmtime.Module.deserialize_file(engine.wasmtime, str(file))
    except wasmtime.WasmtimeError as error:
        raise UnfitModule("unloadable", f"the compiled code is not taken: {error}") from None
    linker = wasmtime.Linker(engine.wasmtime)
    callbacks = []
    defined = set()
    for one in module.imports:
        name = one.name or ""
        if (one.module, name) in defined:
            continue
        defined.add((one.module, name))
        signature = _signature(one.module, name)
        callbacks.append(linker_add_async(engine, linker, one.module, name, signature))
    return CoreProgram(
        module=module,
        linker=linker,
        exports=frozenset(one.name for one in module.exports),
        callbacks=tuple(callbacks),
    )


def _signature(module: str, name: str) -> wasmtime.FuncType:
    i32 = wasmtime.ValType.i32()
    if module == WASI_MODULE and name in WASI_FUNCTIONS:
        kinds = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
        parameters = [kinds[letter]() for letter in WASI_FUNCTIONS[name]]
        return wasmtime.FuncType(parameters, [] if name == "proc_exit" else [i32])
    if module == OWN_MODULE and name in OWN_IMPORTS:
        return wasmtime.FuncType([i32] * OWN_IMPORTS[name], [i32])
    raise UnfitModule("import", f"the host has no {module}.{name}")
