"""The program that compiles one guest: a process of its own, so that a bomb bursts there.

    python -m caxton_node.wasm.compile_child SOURCE TARGET plain|metered

It bounds itself before it looks at the source, and prints one line: what the guest imports and
exports, or why it will not be run.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any, Final

from caxton_node.wasm.errors import UnfitModule

__all__ = ["ADDRESS_SPACE_BYTES", "CPU_S", "main"]

CPU_S: Final = 40
"""Processor time. A whole Python interpreter takes some ten seconds."""

ADDRESS_SPACE_BYTES: Final = 6 << 30


def main(arguments: list[str]) -> int:
    """Compile; print a report as JSON. Returns the exit code."""
    source, target, mode = arguments
    _bound()
    try:
        report = {
            "ok": _compile(Path(source).read_bytes(), Path(target), is_metered=mode == "metered")
        }
    except UnfitModule as error:
        report = {"error": {"rule": error.rule, "detail": error.detail}}
    sys.stdout.write(json.dumps(report))
    return 0


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Compiling reserves no guest memory, so that all of the address space is for the compiler.
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))


def _compile(source: bytes, target: Path, *, is_metered: bool) -> dict[str, Any]:
    import wasmtime  # noqa: PLC0415 - the limits stand before the library is loaded
    from wasmtime.component import Component  # noqa: PLC0415 - the library comes after the limits

    from caxton_node.wasm.component_types import report_component  # noqa: PLC0415 - the library comes after the limits
    from caxton_node.wasm.engine import Engine  # noqa: PLC0415 - the library comes after the limits

    engine = Engine(is_metered=is_metered).wasmtime
    is_component = source[4:8] != b"\x01\x00\x00\x00"
    try:
        if is_component:
            component = Component(engine, source)
            target.write_bytes(component.serialize())
            return report_component(component, engine)
        wasmtime.Module.validate(engine, source)
        module = wasmtime.Module(engine, source)
        target.write_bytes(module.serialize())
    except wasmtime.WasmtimeError as error:
        raise UnfitModule(
            "invalid", f"it is no valid WebAssembly that is allowed: {error}"
        ) from None
    return {
        "imports": [[one.module, one.name or "", _text(one.type)] for one in module.imports],
        "exports": [[one.name, _text(one.type)] for one in module.exports],
    }


def _text(kind: Any) -> str:
    import wasmtime  # noqa: PLC0415 - the library comes after the limits

    match kind:
        case wasmtime.FuncType():
            parameters = ",".join(map(str, kind.params))
            return f"func({parameters})->{','.join(map(str, kind.results))}"
        case wasmtime.MemoryType():
            return "memory"
        case wasmtime.GlobalType():
            return "global"
        case wasmtime.TableType():
            return "table"
        case _:
            return "other"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
