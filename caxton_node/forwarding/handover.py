"""Leaving an agent to another node: what waits goes there, what was begun ends here.

A turn ends where it began, because its recorded steps are here. So a seat that is left takes no
new turns until those under way are over, within a bound; then all that waits and was not begun is
routed again, in the order in which it was accepted. What was begun and is to be tried again, keeps
the seat until it is done.

Nothing here awaits the world: `advance` is called every so often, by the one who places agents.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.agent import AgentState
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.seat import Seat

__all__ = ["TURN_END_S", "Handover", "Reroute", "leftover", "movable"]

TURN_END_S: Final = 10.0
"""How long messages wait for the turns under way on a seat that is left, so that no conversation
goes on elsewhere while a turn of it runs here."""

Reroute = Callable[[Collection[Envelope]], None]
"""Routes messages again that were taken off a seat."""

_log = logging.getLogger("caxton.placement")


@dataclass(slots=True)
class _Left:
    seat: Seat
    until: float
    """When the turns under way are waited for no longer."""
    has_handed_over: bool = False


class Handover:
    """The seats that this node is leaving.

    Args:
        reroute: Routes messages again.
        dismiss: Lets the workers of a seat go.
    """

    def __init__(self, *, reroute: Reroute, dismiss: Callable[[Seat], None]) -> None:
        self._reroute = reroute
        self._dismiss = dismiss
        self._left: list[_Left] = []

    def __len__(self) -> int:
        """How many seats are not empty yet."""
        return len(self._left)

    def begin(self, seat: Seat, now: float) -> None:
        """Leave a seat that is off the roster."""
        seat.state = AgentState.SUSPENDED
        seat.on_late = self._pass_on
        self._left.append(_Left(seat, now + TURN_END_S))
        self.advance(now)

    def advance(self, now: float) -> None:
        """Go on with every seat that is being left."""
        for left in list(self._left):
            seat = left.seat
            is_idle = not seat.running and not seat.retrying
            if not left.has_handed_over and (is_idle or now >= left.until):
                left.has_handed_over = True
                self._hand_over(seat)
            if left.has_handed_over and is_idle and not len(seat.mailbox):
                self._left.remove(left)
                self._dismiss(seat)

    def _hand_over(self, seat: Seat) -> None:
        moving = sorted(movable(seat), key=lambda envelope: envelope.seq)
        for envelope in moving:
            seat.discard(envelope)
        if len(seat.mailbox) or seat.retrying:
            # What was begun here ends here.
            seat.state = AgentState.RUNNING
            seat.wake()
        if moving:
            _log.info("%d messages for %s go where it runs now", len(moving), seat.agent)
            self._reroute(moving)

    def _pass_on(self, _: Seat, envelope: Envelope) -> None:
        self._reroute((envelope,))


def movable(seat: Seat) -> Iterator[Envelope]:
    """Yield what waits on a seat and may be taken elsewhere, in order within each conversation.

    A conversation whose turn runs here or is to be tried again here, stays here with all of its
    messages that are here.
    """
    begun = (
        {envelope.message.conversation_id for envelope in leftover(seat)}
        | seat.running.keys()
        | seat.retrying.keys()
    )
    for envelope in seat.mailbox.waiting():
        if envelope.message.conversation_id not in begun:
            yield envelope


def leftover(seat: Seat) -> Iterator[Envelope]:
    """Yield what waits on a seat after a first attempt, or may have had one before a restart."""
    for envelope in seat.mailbox.waiting():
        if envelope.attempts or envelope.is_recovered:
            yield envelope
