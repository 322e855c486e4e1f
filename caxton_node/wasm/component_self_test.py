"""Our own conversion of values held against the library's, once, before a component runs.

The structures behind values are private to the engine and may change with every release. When a
value that one side wrote is not what the other reads, no component is run: a wrong guess about
memory would end the process, or worse, not end it.
"""

import ctypes
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime.component import Component
from wasmtime.component import _types as kinds

from caxton_node.wasm.component_values import (
    U32,
    U64,
    Bytes,
    Err,
    Ok,
    Some,
    decode_value,
    delete_values,
    put_value,
)
from caxton_node.wasm.errors import UnfitModule

__all__ = ["check_values"]

_TYPES: Final = """
(component
  (type $record (record (field "code" string) (field "message" string)))
  (import "error" (type $error (eq $record)))
  (import "f" (func
    (param "a" (result (option string) (error $error)))
    (param "b" (list u8))
    (param "c" (tuple u64 u32))
    (param "d" bool)
    (param "e" f64)
    (param "g" string)
    (param "h" (list string)))))
"""

_SAMPLES: Final[tuple[tuple[str, Any], ...]] = (
    ("a", Ok(Some("{}"))),
    ("a", Ok(None)),
    ("a", Err({"code": "denied", "message": "nö"})),
    ("b", Bytes(b"\x00\x01\xff" * 5)),
    ("b", Bytes(b"")),
    ("c", (U64(2**63 + 1), U32(2**32 - 1))),
    ("d", True),
    ("e", 0.25),
    ("g", ""),
    ("g", "grüße 🌍"),
    ("h", ["one", "", "three"]),
)


def check_values(engine: wasmtime.Engine) -> None:
    """Compare the two conversions, both ways, for every type that occurs.

    Args:
        engine: Any.

    Raises:
        UnfitModule: `codec`: they differ.
    """
    component = Component(engine, _TYPES)
    function = component.type.imports(engine)["f"].ty
    assert isinstance(function, kinds.FuncType), "it was written as one"
    types = dict(function.params)
    store = wasmtime.Store(engine)
    for name, sample in _SAMPLES:
        ours = ffi.wasmtime_component_val_t()
        put_value(ours, sample)
        # The library's reading takes the parts of the value for itself.
        if _plain(types[name].convert_from_c(ours)) != _plain(sample):
            raise _unknown(name)
        if isinstance(sample, Err):
            # The library cannot write the bad side where the good one is an option.
            continue
        theirs = ffi.wasmtime_component_val_t()
        types[name].convert_to_c(store, _stock(sample), ctypes.pointer(theirs))
        decoded = decode_value(theirs)
        delete_values(theirs)
        if _plain(decoded) != _plain(sample):
            raise _unknown(name)


def _unknown(name: str) -> UnfitModule:
    return UnfitModule("codec", f"this engine's values are others than known: {name}")


def _stock(sample: Any) -> Any:
    """Return a sample as the library's conversion takes it."""
    match sample:
        case Ok(value=Some(value=inner)) | Ok(value=inner):
            return inner
        case Bytes():
            return bytes(sample)
        case _:
            return sample


def _plain(value: Any) -> Any:
    """Return a value in a form in which the two conversions can be compared."""
    match value:
        case Ok(value=inner) | Some(value=inner) | Err(value=inner):
            return _plain(inner)
        case kinds.Record():
            return {key: _plain(one) for key, one in vars(value).items()}
        case bytes() | bytearray():
            return list(value)
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value
