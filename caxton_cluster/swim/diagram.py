"""The life of a member as a diagram, drawn by asking the rules themselves.

Every state is confronted with every statement; what `precedence` makes of it is an arrow. The
documentation holds the result, and a test holds the documentation to it:
`python -m caxton_cluster.swim.diagram` prints it anew.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from caxton_cluster.swim.precedence import AliveVerdict, accusation_wins, judge_alive
from caxton_cluster.swim.wire.messages import Alive
from caxton_cluster.types import Address, Member, MemberState

__all__ = ["Transition", "state_diagram", "transitions"]

_HERE: Final = Address(bytes((10, 0, 0, 1)), 7946)
_UNKNOWN: Final = "[*]"
_KNOWN_INCARNATION: Final = 5

_ACCUSATIONS: Final = (
    (MemberState.SUSPECT, "suspect"),
    (MemberState.DEAD, "dead"),
    (MemberState.LEFT, "goodbye"),
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow."""

    source: str
    target: str
    statement: str


def transitions() -> Iterator[Transition]:
    """Return every change of state that a statement can bring about."""
    newcomer = Alive(_KNOWN_INCARNATION, "a", _HERE)
    if judge_alive(None, newcomer, now=0.0, reclaim_after_s=0.0) == AliveVerdict.NEWCOMER:
        yield Transition(_UNKNOWN, MemberState.ALIVE.name.lower(), "alive")
    for state in MemberState:
        known = Member(name="a", address=_HERE, incarnation=_KNOWN_INCARNATION, state=state)
        source = state.name.lower()
        for ahead, suffix in ((0, ""), (1, ", later incarnation")):
            claim = Alive(_KNOWN_INCARNATION + ahead, "a", _HERE)
            verdict = judge_alive(known, claim, now=0.0, reclaim_after_s=0.0)
            if verdict == AliveVerdict.NEWER and state != MemberState.ALIVE:
                yield Transition(source, MemberState.ALIVE.name.lower(), f"alive{suffix}")
        for accused, word in _ACCUSATIONS:
            if accused != state and accusation_wins(known, accused, _KNOWN_INCARNATION):
                yield Transition(source, accused.name.lower(), word)
        if state.is_gone:
            yield Transition(source, _UNKNOWN, "gossip_to_dead_s passed")


def state_diagram() -> str:
    """Return the diagram in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {one.source} --> {one.target}: {one.statement}" for one in transitions()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(state_diagram() + "\n")
