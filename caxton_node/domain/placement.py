"""Where the author of an agent wants it to run: `deployment.placement`, read into a rule.

The text is a list of terms, parted by commas. One word says how to choose among the nodes that
fit; `node=NAME` and other `key=value` terms say which nodes fit, all of them together:
`"spread"`, `"least-loaded, zone=eu"`, `"node=gpu-1"`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from caxton_node.domain.agent import EMPTY

__all__ = ["ANYWHERE", "LABEL_COUNT_MAX", "PlacementRule", "Preference", "read_placement"]

LABEL_COUNT_MAX: Final = 8
"""Conditions of one rule, and labels of one node."""

_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class Preference(StrEnum):
    """Which of the nodes that fit comes first."""

    SPREAD = "spread"
    """Each agent has an order of nodes of its own, so that agents spread evenly."""
    PACK = "pack"
    """One order of nodes for all agents, so that they gather on few."""
    LEAST_LOADED = "least-loaded"
    """The node with the least to do; among equals as `spread`."""


@dataclass(frozen=True, slots=True)
class PlacementRule:
    """Which nodes fit, and which of them comes first."""

    preference: Preference = Preference.SPREAD
    node: str | None = None
    """The one node that fits."""
    labels: Mapping[str, str] = EMPTY
    """What a node must say of itself."""

    def fits(self, node: str, labels: Mapping[str, str]) -> bool:
        """Return whether a node of this name and with these labels is one of those meant."""
        if self.node is not None and node != self.node:
            return False
        return all(labels.get(key) == value for key, value in self.labels.items())

    def __str__(self) -> str:
        terms = [str(self.preference)] if self.preference is not Preference.SPREAD else []
        terms += [f"node={self.node}"] if self.node is not None else []
        terms += [f"{key}={value}" for key, value in sorted(self.labels.items())]
        return ", ".join(terms) or str(Preference.SPREAD)


ANYWHERE: Final = PlacementRule()


def read_placement(text: str) -> PlacementRule:
    """Read a rule as an author wrote it.

    Raises:
        ValueError: It is none; the text says what is wrong with it.
    """
    preference: Preference | None = None
    node: str | None = None
    labels: dict[str, str] = {}
    for term in (part.strip() for part in text.split(",")):
        key, equals, value = (part.strip() for part in term.partition("="))
        if not equals:
            word = key.replace("_", "-")
            if preference is not None or word not in set(Preference):
                known = ", ".join(Preference)
                raise ValueError(f"{term!r} is not one of {known}, node=NAME, key=value")
            preference = Preference(word)
        elif not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ValueError(f"{term!r} is not a condition such as zone=eu or node=NAME")
        elif key == "node" and node is None:
            node = value
        elif key != "node" and key not in labels:
            labels[key] = value
        else:
            raise ValueError(f"{key!r} is given twice")
    if len(labels) > LABEL_COUNT_MAX:
        raise ValueError(f"a rule has at most {LABEL_COUNT_MAX} conditions")
    return PlacementRule(preference or Preference.SPREAD, node, MappingProxyType(labels))
