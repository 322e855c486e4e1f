"""The agents of this node by name, and the states they pass through."""

from collections.abc import Iterator
from difflib import get_close_matches

from caxton_node.domain.agent import TRANSITIONS, AgentState
from caxton_node.domain.errors import Conflict, NotFound
from caxton_node.routing.directory import Directory
from caxton_node.runtime.seat import Seat

__all__ = ["Roster"]


class Roster:
    """Seats by name. Whoever is on the roster can be found by routing."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._seats: dict[str, Seat] = {}

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats.values())

    def __len__(self) -> int:
        return len(self._seats)

    def find(self, agent: str) -> Seat | None:
        """Return an agent's seat, or None."""
        return self._seats.get(agent)

    def seat(self, agent: str) -> Seat:
        """Return an agent's seat.

        Raises:
            NotFound: `agent_not_found`, with the names that come near.
        """
        seat = self._seats.get(agent)
        if seat is not None:
            return seat
        by_plain_name = {name.lower(): name for name in self._seats}
        near = [
            by_plain_name[name] for name in get_close_matches(agent.lower(), by_plain_name, n=3)
        ]
        raise NotFound(
            "agent_not_found",
            f"no agent is called {agent!r}",
            hint=f"Did you mean {', '.join(near)}?" if near else None,
            facts={"suggestions": near},
        )

    def put(self, seat: Seat) -> None:
        """Add a seat, or tell routing what a new version offers."""
        self._seats[seat.agent] = seat
        self._directory.put(seat, seat.spec.capabilities)

    def remove(self, agent: str) -> None:
        """Take an agent off the roster."""
        del self._seats[agent]
        self._directory.remove(agent)

    def check_transition(self, seat: Seat, to: AgentState) -> None:
        """Let a change of state pass that the table allows.

        Raises:
            Conflict: `state_conflict`.
        """
        if to not in TRANSITIONS[seat.state]:
            allowed = ", ".join(sorted(TRANSITIONS[seat.state]))
            raise Conflict(
                "state_conflict",
                f"{seat.agent!r} is {seat.state}; from there it can become {allowed}, not {to}",
                facts={"state": seat.state.value},
            )
