"""Builds the graph of a model: `python -m caxton_node.memory.embedding.build FOLDER PRECISION OUT`.

A process of its own, for the memory that it takes for a moment.
"""

import sys
from pathlib import Path

from caxton_node.memory.embedding.model_files import build_graph

__all__ = ["main"]


def main(folder: str, precision: str, out: str) -> None:
    """Write the graph of the model in `folder` to `out`."""
    Path(out).write_bytes(build_graph(Path(folder), is_quantised=precision == "int8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
