"""Leaving an agent to another node: what waits goes there, what was begun ends here.

A turn ends where it began, because its recorded steps are here. So what was begun, and what is to
be tried again, keeps its conversation closed on the seat that is left; everything else is routed
again at once, in the order in which it was accepted. What comes for a closed conversation meanwhile
waits behind it on the same seat (`caxton_node.forwarding.order`), and goes when that is over.

A conversation is closed no longer than its turn takes: `limits.time` of the agent, and its retries.
Nothing here awaits the world: `advance` is called every so often, by the one who places agents.
"""

import logging
from collections.abc import Callable, Collection

from caxton_node.forwarding.order import Seated
from caxton_node.routing.envelope import Envelope
from caxton_node.runtime.seat import Seat

__all__ = ["Handover", "Reroute"]

Reroute = Callable[[Collection[Envelope]], None]
"""Routes messages again that were taken off a seat."""

_log = logging.getLogger("caxton.placement")


class Handover:
    """The seats that this node is leaving.

    Args:
        reroute: Routes messages again.
        dismiss: Lets the workers of a seat go.
        left: Agent → its seats that are being left; kept here for those who look.
    """

    def __init__(
        self,
        *,
        reroute: Reroute,
        dismiss: Callable[[Seat], None],
        left: dict[str, list[Seated]],
    ) -> None:
        self._reroute = reroute
        self._dismiss = dismiss
        self._by_agent = left
        self._left: list[Seat] = []

    def __len__(self) -> int:
        """How many seats are not empty yet."""
        return len(self._left)

    def begin(self, seat: Seat) -> None:
        """Leave a seat that is off the roster."""
        count = len(seat.mailbox)
        self._left.append(seat)
        self._by_agent.setdefault(seat.agent, []).append(seat)
        seat.leave(self._pass_on)
        if count:
            _log.info(
                "%d of %d messages for %s go where it runs now",
                count - len(seat.mailbox),
                count,
                seat.agent,
            )
        self.advance()

    def advance(self) -> None:
        """Go on with every seat that is being left."""
        for seat in list(self._left):
            # Also where no worker looks any more: its agent was suspended, or crashed too often.
            seat.pass_on_rest()
            if not (seat.running or seat.retrying or len(seat.mailbox)):
                self._left.remove(seat)
                seats = self._by_agent[seat.agent]
                seats.remove(seat)
                if not seats:
                    del self._by_agent[seat.agent]
                self._dismiss(seat)

    def _pass_on(self, envelopes: Collection[Envelope]) -> None:
        self._reroute(envelopes)
