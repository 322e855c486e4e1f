"""The modes of a partition in words: for the log, and for whoever is refused in one."""

from collections.abc import Mapping
from typing import Final

from caxton_cluster.partition import PartitionMode, PartitionView
from caxton_node.domain.errors import Unavailable

__all__ = ["IN_MODE", "no_answer", "no_majority"]

IN_MODE: Final[Mapping[PartitionMode, str]] = {
    PartitionMode.MAJORITY: "with the majority",
    PartitionMode.MINORITY: "in a minority",
    PartitionMode.ISOLATED: "isolated",
}
"""Completes "this node is …"."""


def no_answer(view: PartitionView, timeout_s: float) -> Unavailable:
    """Return why a change is refused where membership sees a majority and it does not answer."""
    return Unavailable(
        "no_majority",
        f"this node believes to see {view.alive_count} of {view.expected_count} nodes, but not "
        f"the {view.majority_count} that make a majority answered within {timeout_s:g} s: it may "
        "be cut off just now",
        hint="Try again in a few seconds, or ask another node.",
        facts={
            "mode": view.mode.value,
            "alive": view.alive_count,
            "expected": view.expected_count,
        },
    )


def no_majority(view: PartitionView) -> Unavailable:
    """Return why a change of what agents are is refused: others may decide the opposite."""
    return Unavailable(
        "no_majority",
        f"this node sees {view.alive_count} of {view.expected_count} nodes, and "
        f"{view.majority_count} make a majority: it is {IN_MODE[view.mode]}",
        hint="Ask a node of the majority, or wait until the nodes see each other again. "
        "A node that will not come back is struck off with: caxton cluster remove NODE",
        facts={
            "mode": view.mode.value,
            "alive": view.alive_count,
            "expected": view.expected_count,
        },
    )
