"""The metrics of one scrape, read back from their text for whoever wants to judge them. Pure.

Reference: Prometheus, "Exposition formats", text-based format.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Samples", "read_samples"]

_SAMPLE: Final = re.compile(
    r"^(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[^\"}]|\"[^\"]*\")*)\})? (?P<value>\S+)", re.MULTILINE
)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class _Sample:
    labels: Mapping[str, str]
    value: float


class Samples:
    """What was read, by name."""

    def __init__(self, found: Mapping[str, Sequence[_Sample]]) -> None:
        self._found = found

    def value(self, name: str, **labels: str) -> float | None:
        """Return the first value that has these labels; None where there is none."""
        for sample in self._found.get(name, ()):
            if labels.items() <= sample.labels.items():
                return sample.value
        return None

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all values that have these labels."""
        return sum(
            sample.value
            for sample in self._found.get(name, ())
            if labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums by the values of one label."""
        sums: dict[str, float] = {}
        for sample in self._found.get(name, ()):
            key = sample.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums


def read_samples(text: str) -> Samples:
    """Return the metrics in a text of Prometheus; lines that are none are passed over."""
    found: dict[str, list[_Sample]] = {}
    for match in _SAMPLE.finditer(text):
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = dict(_LABEL.findall(match["labels"] or ""))
        found.setdefault(match["name"], []).append(_Sample(labels, value))
    return Samples(found)
