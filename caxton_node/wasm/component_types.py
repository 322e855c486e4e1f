"""The types of a component, as text: what it imports and exports, to compare with the worlds."""

from typing import Any, Final

import wasmtime
from wasmtime.component import Component
from wasmtime.component import _types as kinds

__all__ = ["report_component"]

DEPTH_MAX: Final = 32


def report_component(component: Component, engine: wasmtime.Engine) -> dict[str, Any]:
    """Return what a component imports and exports.

    Returns:
        `imports`: interface → function → type; `exports`: function → type. What is no function
        stands there as its kind.
    """
    imports: dict[str, Any] = {}
    for name, item in component.type.imports(engine).items():
        imports[name] = _item(item, engine)
    exports = {name: _item(item, engine) for name, item in component.type.exports(engine).items()}
    return {"imports": imports, "exports": exports}


def _item(item: Any, engine: wasmtime.Engine) -> Any:
    kind = item.ty if isinstance(item, kinds.ComponentExtern) else item
    match kind:
        case kinds.FuncType():
            return _function(kind)
        case kinds.ComponentInstanceType():
            return {name: _item(one, engine) for name, one in kind.exports(engine).items()}
        case _:
            return type(kind).__name__.lower()


def _function(function: kinds.FuncType) -> str:
    parameters = ",".join(_value(one, 0) for _, one in function.params)
    result = function.result
    return f"func({parameters})->{'' if result is None else _value(result, 0)}"


def _value(kind: Any, depth: int) -> str:
    if depth > DEPTH_MAX:
        return "…"
    deeper = depth + 1
    match kind:
        case None:
            return "_"
        case kinds.OptionType():
            return f"option<{_value(kind.payload, deeper)}>"
        case kinds.ResultType():
            return f"result<{_value(kind.ok, deeper)},{_value(kind.err, deeper)}>"
        case kinds.ListType():
            return f"list<{_value(kind.element, deeper)}>"
        case kinds.RecordType():
            rows = ",".join(f"{name}:{_value(one, deeper)}" for name, one in kind.fields)
            return f"record<{rows}>"
        case kinds.TupleType():
            return f"tuple<{','.join(_value(one, deeper) for one in kind.elements)}>"
        case kinds.EnumType():
            return f"enum<{','.join(kind.names)}>"
        case kinds.ValType():
            return type(kind).__name__.lower()
        case _:
            return type(kind).__name__.lower()
