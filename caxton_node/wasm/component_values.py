"""Values of the component model between C and Python, for the types that `caxton:guest` uses.

The library's own conversion reads the type of every value anew at each call and is ten times
slower; it also keeps values of all sandboxes in one place. This one goes by the tag that each value
carries. `self_test` compares the two where a process begins to run components.

Who owns what: a value that is passed to a guest stays ours; a value that answers a guest becomes
the engine's, so that its parts are made by the engine's own functions; a value that a guest
returned is ours to delete, once.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from wasmtime import _bindings as raw
from wasmtime import _ffi as ffi

from caxton_node.wasm.errors import Trapped

__all__ = [
    "U32",
    "U64",
    "Bytes",
    "Case",
    "Enum",
    "Err",
    "Lent",
    "Ok",
    "Slots",
    "Some",
    "decode_arguments",
    "decode_value",
    "delete_values",
    "put_value",
]

DEPTH_MAX: Final = 16
ITEMS_MAX: Final = 100_000
BYTES_MAX: Final = 4_000_000
TEXT_BYTES_MAX: Final = 2_000_000

_BOOL: Final = 0
_U8: Final = 2
_S32: Final = 5
_U32: Final = 6
_S64: Final = 7
_U64: Final = 8
_F64: Final = 10
_STRING: Final = 12
_LIST: Final = 13
_RECORD: Final = 14
_TUPLE: Final = 15
_VARIANT: Final = 16
_ENUM: Final = 17
_OPTION: Final = 18
_RESULT: Final = 19
_RESOURCE: Final = 21

_INTEGERS: Final = {1: "s8", 2: "u8", 3: "s16", 4: "u16", 5: "s32", 6: "u32", 7: "s64", 8: "u64"}

Value = ffi.wasmtime_component_val_t


ABSENT: Final = object()
"""What stands where a side of a `result`, or a case of a variant, carries nothing."""


class Ok:
    """The good side of a `result`."""

    __slots__ = ("value",)

    def __init__(self, value: Any = ABSENT) -> None:
        self.value = value


class Err:
    """The bad side of a `result`."""

    __slots__ = ("value",)

    def __init__(self, value: Any = ABSENT) -> None:
        self.value = value


class Some:
    """An `option` that is there. None is one that is not."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class U8(int):
    """An unsigned number of 8 bits."""


class U32(int):
    """An unsigned number of 32 bits."""


class U64(int):
    """An unsigned number of 64 bits."""


class Enum(str):
    """The name of a case of an enumeration."""

    __slots__ = ()


class Case:
    """A case of a variant, with its value if it has one."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any = ABSENT) -> None:
        self.name = name
        self.value = value


class Bytes(bytes):
    """A `list<u8>`."""

    __slots__ = ()


class Lent(int):
    """The number of a host's resource, that the guest lends back."""


def decode_arguments(context: Any, arguments: Any, count: int) -> list[Any]:
    """Return what a guest passes to a function of the host.

    To be called where the guest waits, on its stack: afterwards the values are gone.

    Args:
        context: The C handle of the store.
        arguments: C values.
        count: Of them.

    Raises:
        Trapped: One is larger than anything the host takes, or no UTF-8.
    """
    return [_lent(context, decode_value(arguments[place])) for place in range(count)]


def _lent(context: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_lent(context, item) for item in value]
    if isinstance(value, Lent):
        return Lent(_number_of(context, value))
    return value


def _number_of(context: Any, address: int) -> int:
    handle = ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_component_resource_any_t))
    host = ctypes.POINTER(ffi.wasmtime_component_resource_host_t)()
    error: Any = raw.wasmtime_component_resource_any_to_host(context, handle, ctypes.byref(host))
    if error:
        raw.wasmtime_error_delete(error)
        raise Trapped("a handle that is none of the host's")
    number = int(raw.wasmtime_component_resource_host_rep(host))
    raw.wasmtime_component_resource_host_delete(host)
    return number


def decode_value(value: Any, depth: int = 0) -> Any:
    """Return what a C value holds. Nothing is deleted.

    Returns:
        `bool`, `int`, `float`, `str`, `Bytes` (a `list<u8>`), `list`, `tuple`, `dict` (a record),
        `None` or `Some`, `Ok` or `Err`, `Case`. Of a resource the address of its handle, as `Lent`.

    Raises:
        Trapped: It is larger than anything the host takes, or no UTF-8.
    """
    if depth > DEPTH_MAX:
        raise Trapped("a value is nested too deeply")
    kind, of = value.kind, value.of
    if kind == _STRING:
        return _text(of.string)
    if kind in _INTEGERS:
        return int(getattr(of, _INTEGERS[kind]))
    decode = _DECODERS.get(kind)
    if decode is None:
        raise Trapped(f"a value of a kind that is not used here ({kind})")
    return decode(of, depth + 1)


def _decode_result(of: Any, depth: int) -> Any:
    payload = _decode_boxed(of.result.val, depth)
    return Ok(payload) if of.result.is_ok else Err(payload)


def _decode_boxed(pointer: Any, depth: int) -> Any:
    return decode_value(pointer.contents, depth) if pointer else None


def _decode_option(of: Any, depth: int) -> Any:
    return Some(decode_value(of.option.contents, depth)) if of.option else None


def _decode_record(of: Any, depth: int) -> Any:
    record = of.record
    return {
        _text(record.data[place].name): decode_value(record.data[place].val, depth)
        for place in range(_count(record.size))
    }


def _decode_list(of: Any, depth: int) -> Any:
    items = of.list
    if items.size and items.data[0].kind == _U8:
        # Of each value of 32 bytes the ninth is the byte itself.
        size = ctypes.sizeof(Value)
        whole = ctypes.string_at(items.data, _count(items.size, BYTES_MAX) * size)
        return Bytes(whole[Value.of.offset :: size])
    return [decode_value(items.data[place], depth) for place in range(_count(items.size))]


def _decode_tuple(of: Any, depth: int) -> Any:
    items = of.tuple
    return tuple(decode_value(items.data[place], depth) for place in range(_count(items.size)))


_DECODERS: Final[dict[int, Callable[[Any, int], Any]]] = {
    _BOOL: lambda of, _: bool(of.boolean),
    9: lambda of, _: float(of.f32),
    _F64: lambda of, _: float(of.f64),
    11: lambda of, _: chr(of.character),
    _LIST: _decode_list,
    _RECORD: _decode_record,
    _TUPLE: _decode_tuple,
    _VARIANT: lambda of, depth: Case(
        _text(of.variant.discriminant), _decode_boxed(of.variant.val, depth)
    ),
    _ENUM: lambda of, _: _text(of.enumeration),
    _OPTION: _decode_option,
    _RESULT: _decode_result,
    _RESOURCE: lambda of, _: Lent(ctypes.cast(of.resource, ctypes.c_void_p).value or 0),
}


def _count(size: int, most: int = ITEMS_MAX) -> int:
    if size > most:
        raise Trapped(f"a list of {size:,} items; {most:,} are taken")
    return int(size)


def _text(name: Any) -> str:
    if name.size > TEXT_BYTES_MAX:
        raise Trapped(f"a text of {name.size:,} bytes; {TEXT_BYTES_MAX:,} are taken")
    data = ctypes.string_at(name.data, name.size) if name.size else b""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Trapped("a text that is no UTF-8") from None


def put_value(target: Any, value: Any) -> None:
    """Write a Python value into a C value that becomes the engine's.

    Args:
        target: Empty.
        value: What `decode_value` returns, or `U8`, `U32`, `U64`, `Enum`. A bare `int` is a number
            of 32 bits with a sign.
    """
    put = _PUTTERS.get(type(value))
    if put is None:
        target.kind, target.of.resource = _RESOURCE, value
    else:
        put(target, value)


def _put_scalar(kind: int, field: str) -> Callable[[Any, Any], None]:
    def put(target: Any, value: Any) -> None:
        target.kind = kind
        setattr(target.of, field, value)

    return put


def _put_text(target: Any, value: str) -> None:
    _put_name(target.of.string, value)
    target.kind = _STRING


def _put_enum(target: Any, value: str) -> None:
    _put_name(target.of.enumeration, value)
    target.kind = _ENUM


def _put_option(target: Any, value: Some | None) -> None:
    target.of.option = ctypes.POINTER(Value)() if value is None else _boxed(value.value)
    target.kind = _OPTION


def _put_result(target: Any, value: Ok | Err) -> None:
    target.of.result.is_ok = isinstance(value, Ok)
    target.of.result.val = _boxed_or_null(value.value)
    target.kind = _RESULT


def _put_case(target: Any, value: Case) -> None:
    _put_name(target.of.variant.discriminant, value.name)
    target.of.variant.val = _boxed_or_null(value.value)
    target.kind = _VARIANT


def _boxed_or_null(value: Any) -> Any:
    return ctypes.POINTER(Value)() if value is ABSENT else _boxed(value)


def _put_name(name: Any, text: str) -> None:
    data = text.encode("utf-8", "replace")
    ffi.wasm_byte_vec_new_uninitialized(ctypes.byref(name), len(data))
    if data:
        ctypes.memmove(name.data, data, len(data))


def _boxed(value: Any) -> Any:
    made = Value()
    put_value(made, value)
    # The engine moves the value into the box: what is ours is empty afterwards.
    return raw.wasmtime_component_val_new(ctypes.byref(made))


def _put_record(target: Any, value: dict[str, Any]) -> None:
    raw.wasmtime_component_valrecord_new_uninit(ctypes.byref(target.of.record), len(value))
    for place, (key, item) in enumerate(value.items()):
        entry = target.of.record.data[place]
        _put_name(entry.name, key)
        put_value(entry.val, item)
    target.kind = _RECORD


def _put_items(target: Any, value: list[Any] | tuple[Any, ...]) -> None:
    is_list = isinstance(value, list)
    items = target.of.list if is_list else target.of.tuple
    make = (
        raw.wasmtime_component_vallist_new_uninit
        if is_list
        else raw.wasmtime_component_valtuple_new_uninit
    )
    make(ctypes.byref(items), len(value))
    for place, item in enumerate(value):
        put_value(items.data[place], item)
    target.kind = _LIST if is_list else _TUPLE


def _put_bytes(target: Any, value: bytes) -> None:
    raw.wasmtime_component_vallist_new_uninit(ctypes.byref(target.of.list), len(value))
    size = ctypes.sizeof(Value)
    whole = bytearray(len(value) * size)
    whole[0::size] = bytes([_U8]) * len(value)
    whole[Value.of.offset :: size] = value
    if value:
        ctypes.memmove(target.of.list.data, bytes(whole), len(whole))
    target.kind = _LIST


_PUTTERS: Final[dict[type, Callable[[Any, Any], None]]] = {
    bool: _put_scalar(_BOOL, "boolean"),
    int: _put_scalar(_S32, "s32"),
    U8: _put_scalar(_U8, "u8"),
    U32: _put_scalar(_U32, "u32"),
    U64: _put_scalar(_U64, "u64"),
    float: _put_scalar(_F64, "f64"),
    str: _put_text,
    Enum: _put_enum,
    type(None): _put_option,
    Some: _put_option,
    Ok: _put_result,
    Err: _put_result,
    Case: _put_case,
    dict: _put_record,
    Bytes: _put_bytes,
    list: _put_items,
    tuple: _put_items,
}


class Slots:
    """Values to call a guest with and one for its result: made once, used for every call.

    Args:
        count: Of arguments, all of them texts.
        has_result: Whether the function returns something.
    """

    def __init__(self, count: int, *, has_result: bool) -> None:
        self.count = count
        self.given = int(has_result)
        self.arguments = (Value * max(1, count))()
        self.results = (Value * 1)()
        self._texts: list[bytes] = []

    def fill(self, texts: tuple[bytes, ...]) -> None:
        """Point the arguments at texts, which are kept until the next call."""
        assert len(texts) == self.count, "as many as the function takes"
        self._texts = list(texts)
        for place, text in enumerate(self._texts):
            slot = self.arguments[place]
            slot.kind = _STRING
            slot.of.string.size = len(text)
            slot.of.string.data = ctypes.cast(ctypes.c_char_p(text), type(slot.of.string.data))

    def take(self) -> Any:
        """Return the result and delete it.

        Raises:
            Trapped: It is larger than anything the host takes.
        """
        if not self.given:
            return None
        slot = self.results[0]
        try:
            return decode_value(slot)
        finally:
            delete_values(slot)


def delete_values(slot: Any) -> None:
    """Delete what a C value holds and leave it empty.

    A kind that is left standing would be deleted twice by whoever uses the slot next.
    """
    raw.wasmtime_component_val_delete(ctypes.byref(slot))
    slot.kind = _BOOL
    slot.of.u64 = 0
