"""Just enough of the ONNX file format to write a graph.

The package `onnx` would do it too, at 27 MB for what is a handful of nested records, written
once in the life of a data folder. The runtime checks what is written here when it loads it.

Reference: onnx.proto3 of ONNX 1.17 (IR version 8); Protocol Buffers encoding specification.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Graph", "encode_model"]

_IR_VERSION: Final = 8
_OPSET: Final = 17
_VENDOR_DOMAIN: Final = "com.microsoft"

_ELEMENT_TYPES: Final = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}

_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED32: Final = 5

Value = float | int | str


@dataclass(slots=True)
class Graph:
    """A graph under construction: nodes in order, and the tensors that they start from."""

    nodes: list[bytes] = field(default_factory=list)
    tensors: list[bytes] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)

    def add_tensor(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a constant and return its name."""
        element = _ELEMENT_TYPES[values.dtype.name]
        self.tensors.append(
            b"".join(_number(1, size) for size in values.shape)
            + _number(2, element)
            + _text(8, name)
            + _bytes(9, np.ascontiguousarray(values).tobytes())
        )
        return name

    def add_node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        is_fused: bool = False,
        attributes: Mapping[str, Value] | None = None,
    ) -> str:
        """Add a step with one output (commas separate several) and return the output's name.

        Args:
            operator: Of the standard set, or of the runtime's own when `is_fused`.
            inputs: Names; an empty one is an optional input left out.
            output: Name or names.
            is_fused: Of the runtime's own set.
            attributes: Parameters of the operator.
        """
        self.nodes.append(
            b"".join(_text(1, name) for name in inputs)
            + b"".join(_text(2, name) for name in output.split(","))
            + _text(3, output)
            + _text(4, operator)
            + b"".join(_bytes(5, _attribute(*one)) for one in (attributes or {}).items())
            + (_text(7, _VENDOR_DOMAIN) if is_fused else b"")
        )
        return output

    def add_input(self, name: str, element: str, shape: Sequence[str | int]) -> str:
        """Declare an input; a dimension that is a name may have any size."""
        self.inputs.append(_value_info(name, element, shape))
        return name

    def add_output(self, name: str, element: str, shape: Sequence[str | int]) -> None:
        """Declare an output."""
        self.outputs.append(_value_info(name, element, shape))


def encode_model(graph: Graph, *, name: str) -> bytes:
    """Return a graph as the bytes of an ONNX file."""
    body = (
        _repeated(1, graph.nodes)
        + _text(2, name)
        + _repeated(5, graph.tensors)
        + _repeated(11, graph.inputs)
        + _repeated(12, graph.outputs)
    )
    opsets = (("", _OPSET), (_VENDOR_DOMAIN, 1))
    return (
        _number(1, _IR_VERSION)
        + _text(2, "caxton")
        + _bytes(7, body)
        + b"".join(_bytes(8, _text(1, domain) + _number(2, version)) for domain, version in opsets)
    )


def _value_info(name: str, element: str, shape: Sequence[str | int]) -> bytes:
    dimensions = b"".join(
        _bytes(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    tensor = _number(1, _ELEMENT_TYPES[element]) + _bytes(2, dimensions)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(name: str, value: Value) -> bytes:
    match value:
        case float():
            return _text(1, name) + _tag(2, _FIXED32) + struct.pack("<f", value) + _number(20, 1)
        case int():
            return _text(1, name) + _number(3, value) + _number(20, 2)
        case str():
            return _text(1, name) + _text(4, value) + _number(20, 3)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as their two's complement
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _number(number: int, value: int) -> bytes:
    return _tag(number, _VARINT) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _tag(number, _DELIMITED) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _repeated(number: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_bytes(number, value) for value in values)
