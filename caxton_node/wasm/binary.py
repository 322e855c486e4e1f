"""A first look at a `.wasm` file: its sections counted, nothing compiled.

Cheap, so that what would be dear to compile is refused before anybody tries. The engine validates
afterwards; whatever is malformed here is refused too.

Reference: WebAssembly Core Specification 2.0, chapter 5, "Binary Format"; component-model
`Binary.md`.
"""

from dataclasses import dataclass
from typing import Final

from caxton_node.wasm.errors import UnfitModule

__all__ = ["SIZE_BYTES_MAX", "Census", "count_sections"]

SIZE_BYTES_MAX: Final = 64 << 20
FUNCTIONS_MAX: Final = 50_000
LOCALS_MAX: Final = 10_000
"""Of one function."""
BODY_BYTES_MAX: Final = 2_000_000
"""Of one function."""
CUSTOM_BYTES_MAX: Final = 32 << 20
"""Names and debugging: not run, but carried along."""
MODULES_MAX: Final = 64
"""Core modules in one component."""
NESTING_MAX: Final = 8
ITEMS_MAX: Final = 10_000
"""Instances, aliases and types of one component."""
TABLE_ELEMENTS_MAX: Final = 1_000_000
PAGE_BYTES: Final = 65_536

_CORE: Final = b"\0asm\x01\0\0\0"
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"

_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY = range(6)
_CODE: Final = 10


@dataclass(slots=True)
class Census:
    """What was counted, nested modules included."""

    is_component: bool = False
    functions: int = 0
    modules: int = 0
    memory_bytes: int = 0
    """The least that its memories start with, added up."""
    custom_bytes: int = 0
    items: int = 0


class _Reader:
    """Reads numbers and pieces; what is not there is an error."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.data)

    def byte(self) -> int:
        if self.is_over:
            raise _malformed("it ends in the middle")
        self.at += 1
        return self.data[self.at - 1]

    def number(self, bits: int = 32) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if value >> bits:
                    raise _malformed("a number is too large")
                return value
            shift += 7
            if shift >= bits + 7:
                raise _malformed("a number is too long")

    def piece(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise _malformed("a part reaches beyond its end")
        self.at += size
        return self.data[self.at - size : self.at]


def _malformed(detail: str) -> UnfitModule:
    return UnfitModule("malformed", f"the file is no WebAssembly: {detail}")


def _too_much(what: str, count: int, most: int) -> UnfitModule:
    return UnfitModule("too_large", f"it has {count:,} {what}; {most:,} are allowed")


def count_sections(data: bytes) -> Census:
    """Return a census of a file.

    Raises:
        UnfitModule: `malformed`; `too_large`, when compiling it could take too much.
    """
    if len(data) > SIZE_BYTES_MAX:
        raise _too_much("bytes", len(data), SIZE_BYTES_MAX)
    if len(data) < len(_CORE):
        raise _malformed("it is too short")
    census = Census(is_component=data[:8] == _COMPONENT)
    if not census.is_component and data[:8] != _CORE:
        if data[:4] == _CORE[:4]:
            raise _malformed(f"its version {data[4:8].hex()} is not known")
        raise _malformed("it does not begin with the four bytes of a .wasm file")
    view = memoryview(data)
    if census.is_component:
        _count_component(view, census, 0)
    else:
        _count_module(view, census)
    return census


def _count_component(data: memoryview, census: Census, depth: int) -> None:
    if depth > NESTING_MAX:
        raise _too_much("levels of components", depth, NESTING_MAX)
    reader = _Reader(data[8:])
    while not reader.is_over:
        kind, body = reader.byte(), reader.piece(reader.number())
        match kind:
            case 0:
                _add_custom(census, len(body))
            case 1:
                if bytes(body[:8]) != _CORE:
                    raise _malformed("a module within it is none")
                _count_module(body, census)
            case 4:
                if bytes(body[:8]) != _COMPONENT:
                    raise _malformed("a component within it is none")
                _count_component(body, census, depth + 1)
            case _:
                # Everything else is a vector: instances, aliases, types, functions, imports.
                census.items += _Reader(body).number() if len(body) and kind != 9 else 1
                if census.items > ITEMS_MAX:
                    raise _too_much("instances, aliases and types", census.items, ITEMS_MAX)


def _add_custom(census: Census, size_bytes: int) -> None:
    census.custom_bytes += size_bytes
    if census.custom_bytes > CUSTOM_BYTES_MAX:
        raise _too_much("bytes of custom sections", census.custom_bytes, CUSTOM_BYTES_MAX)


def _count_module(data: memoryview, census: Census) -> None:
    census.modules += 1
    if census.modules > MODULES_MAX:
        raise _too_much("modules", census.modules, MODULES_MAX)
    reader = _Reader(data[8:])
    while not reader.is_over:
        kind, body = reader.byte(), reader.piece(reader.number())
        match kind:
            case 0:
                _add_custom(census, len(body))
            case 3:
                census.functions += _Reader(body).number()
                if census.functions > FUNCTIONS_MAX:
                    raise _too_much("functions", census.functions, FUNCTIONS_MAX)
            case 4:
                _check_tables(_Reader(body))
            case 5:
                _add_memories(_Reader(body), census)
            case 10:
                _check_bodies(_Reader(body))
            case _:
                pass


def _check_tables(reader: _Reader) -> None:
    for _ in range(reader.number()):
        if reader.byte() == 0x40:
            # A table with an initialiser: the engine's own limits hold.
            return
        flags, least = reader.byte(), reader.number()
        if flags & 1:
            reader.number()
        if least > TABLE_ELEMENTS_MAX:
            raise _too_much("elements in a table", least, TABLE_ELEMENTS_MAX)


def _add_memories(reader: _Reader, census: Census) -> None:
    count = reader.number()
    if count > 1:
        raise UnfitModule("feature", "modules with several memories are not allowed")
    for _ in range(count):
        flags, least = reader.byte(), reader.number(64)
        if flags & 1:
            reader.number(64)
        if flags & ~1:
            raise UnfitModule("feature", "shared memories and memories of 64 bits are not allowed")
        census.memory_bytes += least * PAGE_BYTES


def _check_bodies(reader: _Reader) -> None:
    for _ in range(reader.number()):
        size = reader.number()
        if size > BODY_BYTES_MAX:
            raise _too_much("bytes in one function", size, BODY_BYTES_MAX)
        body = _Reader(reader.piece(size))
        count = 0
        for _ in range(body.number()):
            count += body.number()
            body.byte()
            if count > LOCALS_MAX:
                raise _too_much("locals in one function", count, LOCALS_MAX)
