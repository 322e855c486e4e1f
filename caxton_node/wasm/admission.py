"""Whether a compiled guest may be linked: its shape, the types of its functions, what it imports.

Decided on the compiler's report alone. What a guest may import is known; anything else is refused
here, with its name. Whether it may *call* what it imports is a matter of grants, decided call by
call.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caxton_node.wasm.errors import UnfitModule
from caxton_node.wasm.operations import OPERATIONS, PACKAGE_VERSION, Kind, Operation
from caxton_node.wasm.shapes import Shape, shape_of_component, shape_of_core
from caxton_node.wasm.wasi_functions import WASI_FUNCTIONS, WASI_MODULE

__all__ = ["OWN_IMPORTS", "OWN_MODULE", "admit_component", "admit_core"]

OWN_MODULE: Final = "caxton"

OWN_IMPORTS: Final = {"call": 4, "take": 2}
"""Functions of the module `caxton`: name → how many `i32` they take. Each returns one."""

_CORE_EXPORTS: Final = {
    "alloc": "func(i32)->i32",
    "_initialize": "func()->",
    "_start": "func()->",
    "caxton_abi_version": "func()->i32",
    "handle_message": "func(i32,i32)->i32",
    "snapshot": "func()->i32",
    "restore": "func(i32,i32)->i32",
    "list_tools": "func()->i32",
    "handle_tool_call": "func(i32,i32)->i32",
}

_ERROR: Final = "record<code:string,message:string>"
_COMPONENT_EXPORTS: Final = {
    "handle-message": f"func(string)->result<option<string>,{_ERROR}>",
    "snapshot": f"func()->result<string,{_ERROR}>",
    "restore": f"func(string,string)->result<_,{_ERROR}>",
    "list-tools": f"func()->result<string,{_ERROR}>",
    "call-tool": f"func(string,string)->result<string,{_ERROR}>",
}

_WASI_INTERFACE: Final = re.compile(
    r"wasi:(?:cli|clocks|io|random|filesystem|sockets|http)/[a-z0-9-]+@0\.2\.\d+"
)
_OWN_INTERFACE: Final = re.compile(rf"caxton:guest/([a-z]+)@{re.escape(PACKAGE_VERSION)}")

_TYPES: Final = {
    Kind.TEXT: "string",
    Kind.JSON: "string",
    Kind.U32: "u32",
    Kind.F64: "f64",
    Kind.BOOL: "bool",
    Kind.LEVEL: "enum<debug,info,warning,error>",
    Kind.OPTIONAL_JSON: "option<string>",
}


def admit_core(imports: Sequence[Sequence[str]], exports: Sequence[Sequence[str]]) -> Shape:
    """Return the shape of a core module that may be linked.

    Args:
        imports: Module, name and type of each.
        exports: Name and type of each.

    Raises:
        UnfitModule: `shape`, `signature_of_export`, `import`.
    """
    by_name = {one[0]: one[1] for one in exports}
    callable_ = {
        name for name, kind in by_name.items() if kind.startswith("func") or kind == "memory"
    }
    if by_name.get("memory", "memory") != "memory":
        raise UnfitModule("shape", "its export `memory` is no memory")
    shape = shape_of_core(callable_)
    for name, wanted in _CORE_EXPORTS.items():
        found = by_name.get(name, wanted)
        if found != wanted:
            raise UnfitModule("signature_of_export", f"its {name} is {found}, not {wanted}")
    for module, name, kind in imports:
        _check_core_import(module, name, kind)
    return shape


def _check_core_import(module: str, name: str, kind: str) -> None:
    if module == OWN_MODULE and name in OWN_IMPORTS:
        parameters = ",".join(["i32"] * OWN_IMPORTS[name])
        wanted = f"func({parameters})->i32"
    elif module == WASI_MODULE and name in WASI_FUNCTIONS:
        letters = {"i": "i32", "I": "i64"}
        parameters = ",".join(letters[letter] for letter in WASI_FUNCTIONS[name])
        wanted = f"func({parameters})->" + ("" if name == "proc_exit" else "i32")
    else:
        raise UnfitModule("import", f"it imports {module[:64]}.{name[:64]}, which no host has here")
    if kind != wanted:
        raise UnfitModule("import", f"it imports {module}.{name} as {kind}, not {wanted}")


def admit_component(imports: Mapping[str, Any], exports: Mapping[str, Any]) -> Shape:
    """Return the shape of a component that may be linked.

    Args:
        imports: Interface → function → type.
        exports: Function → type; what is no function stands there as something else.

    Raises:
        UnfitModule: `shape`, `signature_of_export`, `import`.
    """
    functions = {
        name: kind for name, kind in exports.items() if isinstance(kind, str) and "func(" in kind
    }
    shape = shape_of_component(functions)
    for name, wanted in _COMPONENT_EXPORTS.items():
        found = functions.get(name, wanted)
        if found != wanted:
            raise UnfitModule("signature_of_export", f"its {name} is {found}, not {wanted}")
    for name, items in imports.items():
        own = _OWN_INTERFACE.fullmatch(name)
        if own is not None:
            _check_interface(name, own[1], items)
        elif not _WASI_INTERFACE.fullmatch(name):
            raise UnfitModule("import", f"it imports {name[:200]}, which no host has here")
    return shape


def _check_interface(full_name: str, interface: str, items: Any) -> None:
    if interface == "types":
        return
    if not isinstance(items, dict):
        raise UnfitModule("import", f"it imports {full_name} as no interface")
    for name, kind in items.items():
        if not (isinstance(kind, str) and kind.startswith("func(")):
            continue
        operation = OPERATIONS.get(f"{interface}.{name}")
        if operation is None:
            raise UnfitModule("import", f"{full_name} has no function {name[:64]}")
        wanted = type_of(operation)
        if kind != wanted:
            raise UnfitModule("import", f"it imports {full_name}.{name} as {kind}, not {wanted}")


def type_of(operation: Operation) -> str:
    """Return the type of an operation's function, as the compiler's report writes it."""
    parameters = ",".join(_TYPES[kind] for _, kind in operation.parameters)
    is_unit = operation.result is Kind.UNIT
    if operation.is_fallible:
        good = "_" if is_unit else _TYPES[operation.result]
        return f"func({parameters})->result<{good},{_ERROR}>"
    return f"func({parameters})->" + ("" if is_unit else _TYPES[operation.result])
