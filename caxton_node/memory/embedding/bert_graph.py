"""A BERT encoder with mean pooling as a compute graph, from its published weights.

The operators are the fused ones of ONNX Runtime: one for attention, one for each *add, then
normalise*, one for *bias, then GELU*. Pooling and the final normalisation are part of the graph,
so that what leaves it is one unit vector a text.

`fp32` is the reference to the last bits. `int8` keeps every matrix in blocks of 32 eight-bit
numbers with a scale each, and the table of words with a scale a row: a quarter of the memory.

Reference: Devlin et al., "BERT", 2019; ONNX Runtime, "Contrib operators".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from caxton_node.memory.embedding.onnx_format import Graph, encode_model

__all__ = ["BertShape", "build_bert"]

BLOCK: Final = 32
"""Numbers that share a scale."""

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """The sizes of a model, from its `config.json`."""

    width: int
    layer_count: int
    head_count: int
    epsilon: float


def build_bert(tensors: Tensors, shape: BertShape, *, is_quantised: bool) -> bytes:
    """Return the bytes of an ONNX file: `input_ids`, `attention_mask` → `embedding`.

    Raises:
        KeyError: A tensor that the architecture needs is missing.
    """
    tensors = {name.removeprefix("bert."): values for name, values in tensors.items()}
    builder = _Builder(tensors, shape, is_quantised=is_quantised)
    return builder.build()


class _Builder:
    def __init__(self, tensors: Tensors, shape: BertShape, *, is_quantised: bool) -> None:
        self._tensors = tensors
        self._shape = shape
        self._is_quantised = is_quantised
        self._graph = Graph()

    def build(self) -> bytes:
        graph = self._graph
        ids = graph.add_input("input_ids", "int32", ("batch", "length"))
        mask = graph.add_input("attention_mask", "int32", ("batch", "length"))
        hidden = self._embed(ids)
        for number in range(self._shape.layer_count):
            hidden = self._layer(f"encoder.layer.{number}.", hidden, mask)
        self._pool(hidden, mask)
        graph.add_output("embedding", "float32", ("batch", self._shape.width))
        return encode_model(graph, name="bert")

    def _constant(self, name: str) -> str:
        return self._graph.add_tensor(name, self._tensors[name].astype(np.float32, copy=False))

    def _embed(self, ids: str) -> str:
        graph = self._graph
        words = self._tensors["embeddings.word_embeddings.weight"]
        if self._is_quantised:
            scale = np.abs(words).max(axis=1, keepdims=True) / 127.0
            scale[scale == 0] = 1.0
            codes = np.rint(words / scale).astype(np.int8)
            graph.add_tensor("words", codes)
            graph.add_tensor("word_scales", scale.astype(np.float32))
            graph.add_node("Gather", ("words", ids), "word_codes")
            graph.add_node("Cast", ("word_codes",), "word_numbers", attributes={"to": 1})
            graph.add_node("Gather", ("word_scales", ids), "word_scale")
            graph.add_node("Mul", ("word_numbers", "word_scale"), "word")
        else:
            graph.add_tensor("words", words.astype(np.float32, copy=False))
            graph.add_node("Gather", ("words", ids), "word")
        # Every text is one segment, so its constant vector is part of the positions.
        places = (
            self._tensors["embeddings.position_embeddings.weight"]
            + self._tensors["embeddings.token_type_embeddings.weight"][0]
        )
        graph.add_tensor("places", places.astype(np.float32))
        graph.add_tensor("zero", np.array([0], np.int64))
        graph.add_tensor("one", np.array([1], np.int64))
        graph.add_node("Shape", (ids,), "length", attributes={"start": 1, "end": 2})
        graph.add_node("Slice", ("places", "zero", "length", "zero"), "place")
        graph.add_node("Add", ("word", "place"), "summed")
        return graph.add_node(
            "LayerNormalization",
            (
                "summed",
                self._constant("embeddings.LayerNorm.weight"),
                self._constant("embeddings.LayerNorm.bias"),
            ),
            "embedded",
            attributes={"axis": -1, "epsilon": self._shape.epsilon},
        )

    def _layer(self, prefix: str, hidden: str, mask: str) -> str:
        attended = self._attention(prefix, hidden, mask)
        projected = self._matrix(f"{prefix}attention.output.dense", attended, f"{prefix}projected")
        first = self._add_and_normalise(
            f"{prefix}attention.output", projected, hidden, f"{prefix}first"
        )
        wide = self._matrix(f"{prefix}intermediate.dense", first, f"{prefix}wide")
        bias = self._constant(f"{prefix}intermediate.dense.bias")
        active = self._graph.add_node("BiasGelu", (wide, bias), f"{prefix}active", is_fused=True)
        narrow = self._matrix(f"{prefix}output.dense", active, f"{prefix}narrow")
        return self._add_and_normalise(f"{prefix}output", narrow, first, f"{prefix}second")

    def _attention(self, prefix: str, hidden: str, mask: str) -> str:
        graph, parts = self._graph, ("query", "key", "value")
        name = f"{prefix}attention.self"
        weight = np.concatenate([self._tensors[f"{name}.{part}.weight"].T for part in parts], 1)
        bias = np.concatenate([self._tensors[f"{name}.{part}.bias"] for part in parts])
        graph.add_tensor(f"{name}.bias", bias.astype(np.float32))
        heads = {"num_heads": self._shape.head_count}
        if not self._is_quantised:
            graph.add_tensor(f"{name}.weight", weight.astype(np.float32))
            return graph.add_node(
                "Attention",
                (hidden, f"{name}.weight", f"{name}.bias", mask),
                f"{prefix}attended",
                is_fused=True,
                attributes=heads,
            )
        packed = self._block_matrix(name, weight.T, hidden, f"{prefix}packed")
        outputs = [f"{prefix}{part}" for part in parts]
        graph.add_node("Split", (packed,), ",".join(outputs), attributes={"axis": -1})
        return graph.add_node(
            "MultiHeadAttention",
            (*outputs, f"{name}.bias", mask),
            f"{prefix}attended",
            is_fused=True,
            attributes=heads,
        )

    def _matrix(self, name: str, value: str, output: str) -> str:
        weight = self._tensors[f"{name}.weight"]
        if self._is_quantised:
            return self._block_matrix(name, weight, value, output)
        self._graph.add_tensor(f"{name}.weight", weight.T.astype(np.float32))
        return self._graph.add_node("MatMul", (value, f"{name}.weight"), output)

    def _block_matrix(self, name: str, weight: npt.NDArray[Any], value: str, output: str) -> str:
        """Multiply by a matrix kept in blocks; `weight` is outputs × inputs."""
        rows, columns = weight.shape
        blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
        scale = np.abs(blocks).max(axis=2, keepdims=True) / 127.0
        scale[scale == 0] = 1.0
        # The format's numbers have no sign: 128 stands for zero.
        codes = np.clip(np.rint(blocks / scale) + 128, 0, 255).astype(np.uint8)
        self._graph.add_tensor(f"{name}.codes", codes)
        self._graph.add_tensor(f"{name}.scales", scale.reshape(-1).astype(np.float32))
        return self._graph.add_node(
            "MatMulNBits",
            (value, f"{name}.codes", f"{name}.scales"),
            output,
            is_fused=True,
            attributes={
                "K": columns, "N": rows, "bits": 8, "block_size": BLOCK, "accuracy_level": 4,
            },
        )  # fmt: skip

    def _add_and_normalise(self, name: str, value: str, skip: str, output: str) -> str:
        return self._graph.add_node(
            "SkipLayerNormalization",
            (
                value,
                skip,
                self._constant(f"{name}.LayerNorm.weight"),
                self._constant(f"{name}.LayerNorm.bias"),
                self._constant(f"{name}.dense.bias"),
            ),
            output,
            is_fused=True,
            attributes={"epsilon": self._shape.epsilon},
        )

    def _pool(self, hidden: str, mask: str) -> None:
        """Average over the tokens that are text, then scale to length one."""
        graph = self._graph
        graph.add_tensor("last", np.array([2], np.int64))
        graph.add_node("Cast", (mask,), "mask_numbers", attributes={"to": 1})
        graph.add_node("Unsqueeze", ("mask_numbers", "last"), "mask_column")
        graph.add_node("Mul", (hidden, "mask_column"), "masked")
        graph.add_node("ReduceSum", ("masked", "one"), "total", attributes={"keepdims": 0})
        # Dividing by the count of tokens changes nothing that the normalisation leaves.
        graph.add_node("LpNormalization", ("total",), "embedding", attributes={"axis": -1, "p": 2})
