"""Agents that were deleted: remembered, so that no node brings them back.

The registry forgets a deleted agent; a node that was away does not, and of one that is dead the
others still know what it ran. Whoever deletes an agent therefore says at which revision it is over,
and everybody remembers: copies of that revision or a lower one do not run, whatever their epoch. A
deployment under the same name has a higher revision and is another agent.

State only. Somebody else keeps it over restarts; whoever links up is told all of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from caxton_node.domain.agent import EMPTY
from caxton_node.runtime.placement import Copy

__all__ = ["REMEMBERED_MAX", "Retirement"]

REMEMBERED_MAX: Final = 10_000
"""Deleted agents that are remembered; the longest gone are forgotten first."""


class Retirement:
    """The revisions at which agents are over.

    Args:
        revisions: What was remembered before: name → revision.
    """

    def __init__(self, revisions: Mapping[str, int] = EMPTY) -> None:
        self._revisions = dict(revisions)
        self.on_noted: Callable[[str, int], None] = lambda _agent, _revision: None
        """Told of each deletion. Whoever keeps them over restarts sets it."""
        self.on_forgotten: Callable[[str], None] = lambda _agent: None
        """Told of an agent that is not remembered any longer."""

    def note(self, agent: str, revision: int) -> bool:
        """Note that an agent was deleted; return whether that is news."""
        if self._revisions.get(agent, -1) >= revision:
            return False
        self._revisions.pop(agent, None)
        self._revisions[agent] = revision
        self.on_noted(agent, revision)
        if len(self._revisions) > REMEMBERED_MAX:
            longest_gone = next(iter(self._revisions))
            del self._revisions[longest_gone]
            self.on_forgotten(longest_gone)
        return True

    def revision(self, agent: str) -> int:
        """Return the highest revision that is over; 0 if none is."""
        return self._revisions.get(agent, 0)

    def is_over(self, copy: Copy) -> bool:
        """Return whether a copy is of an agent that was deleted."""
        return copy.revision <= self._revisions.get(copy.agent, -1)

    def in_force(self, copies: Iterable[Copy]) -> list[Copy]:
        """Return the copies that are not over."""
        return [copy for copy in copies if not self.is_over(copy)]

    def all(self) -> Iterator[tuple[str, int]]:
        """Yield everything remembered: name and revision."""
        return iter(self._revisions.items())
