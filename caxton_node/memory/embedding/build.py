"""Builds the graph of a model: `python -m caxton_node.memory.embedding.build FOLDER PRECISION OUT`.

A process of its own, for the memory that it takes for a moment.
"""

import sys
from pathlib import Path

import msgspec

from caxton_node.memory.embedding.bert_graph import BertShape, build_bert
from caxton_node.memory.embedding.safetensors import read_safetensors

__all__ = ["build_graph", "main"]


def build_graph(folder: Path, *, is_quantised: bool) -> bytes:
    """Return the graph of a model's weights as the bytes of a file.

    Raises:
        OSError | ValueError | KeyError: A file is missing, or of another kind of model.
    """
    config = msgspec.json.decode((folder / "config.json").read_bytes())
    shape = BertShape(
        width=config["hidden_size"],
        layer_count=config["num_hidden_layers"],
        head_count=config["num_attention_heads"],
        epsilon=float(config["layer_norm_eps"]),
    )
    tensors = read_safetensors(folder / "model.safetensors")
    return build_bert(tensors, shape, is_quantised=is_quantised)


def main(folder: str, precision: str, out: str) -> None:
    """Write the graph of the model in `folder` to `out`."""
    Path(out).write_bytes(build_graph(Path(folder), is_quantised=precision == "int8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
