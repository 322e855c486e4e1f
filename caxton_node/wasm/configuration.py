"""How the engine is configured, without loading it: what compiled code depends on.

The node names compiled guests by this and never loads the engine itself, unless it runs guests in
its own process.
"""

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["FEATURES_OFF", "FEATURES_ON", "FIBER_BYTES", "STACK_BYTES", "fingerprint"]

STACK_BYTES: Final = 512 * 1024
"""Of a guest's own stack."""
FIBER_BYTES: Final = 2 * 1024 * 1024
"""Of the stack that guest and host functions share; the rest is the host's."""

FEATURES_OFF: Final = (
    "wasm_threads",
    "wasm_tail_call",
    "wasm_memory64",
    "wasm_relaxed_simd",
    "wasm_exceptions",
    "wasm_gc",
    "wasm_function_references",
    "wasm_stack_switching",
    "wasm_wide_arithmetic",
    "wasm_custom_page_sizes",
)
FEATURES_ON: Final = (
    "wasm_simd",
    "wasm_bulk_memory",
    "wasm_reference_types",
    "wasm_multi_value",
    "wasm_component_model",
    # The engine's own adapters between the parts of a component have two; a guest's file may not
    # (`caxton_node.wasm.binary`). Without it, some components abort the compiler.
    "wasm_multi_memory",
)


def fingerprint(*, is_metered: bool) -> str:
    """Return what compiled code depends on besides its source: engine, configuration, processor."""
    parts: Iterable[str] = (
        version("wasmtime"),
        f"metered={is_metered}",
        f"stack={STACK_BYTES}",
        *FEATURES_ON,
        platform.machine(),
        platform.system(),
        _processor_flags(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _processor_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
