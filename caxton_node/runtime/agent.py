"""What an agent is to the runtime: something that takes a turn on a message."""

from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.telemetry.spans import Attribute, Kind, NoSpan, Span
from caxton_node.tools.tool import Outbox

__all__ = ["Agent", "Reply", "TurnContext"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answers. The runtime addresses it."""

    content: Any
    """A JSON value."""
    performative: Performative | None = None
    """None is the positive answer to whatever was asked."""
    metadata: Mapping[str, Any] | None = None


class TurnContext(Outbox, Protocol):
    """What the runtime gives an agent for one turn."""

    @property
    def agent(self) -> str:
        """The agent's own name."""
        ...

    @property
    def attempt(self) -> int:
        """How often this message has been tried, this time included: 1, 2, 3."""
        ...

    @property
    def is_resumed(self) -> bool:
        """Whether this turn may have begun before, in this process or an earlier one."""
        ...

    @property
    def deadline_ms(self) -> int:
        """Instant at which the turn is ended, in milliseconds since 1970, UTC."""
        ...

    @property
    def traceparent(self) -> str | None:
        """What is being done belongs to this, for the header of that name in calls to others."""
        ...

    def step_outbox(self, step: int) -> Outbox:
        """Return an outbox whose messages carry the step's number, the same every attempt."""
        ...

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Attribute | None]
    ) -> AbstractContextManager[Span | NoSpan]:
        """Record a part of the turn, where its trace is recorded: as long as the block lasts.

        Names and attributes stand in `caxton_node.telemetry.names`. Content stays out of them.
        """
        ...

    def show(self, kind: str, **data: Any) -> None:
        """Show something to whoever watches the conversation. Carries no state."""
        ...

    def keep_partial(self, text: str) -> None:
        """Remember what there is so far, for the answer to a `cancel`. Bounded."""
        ...

    def add_partial(self, text: str) -> None:
        """Remember one more piece of what there is so far."""
        ...


class Agent(Protocol):
    """Takes turns. One turn of a conversation at a time; conversations side by side."""

    def handle(self, message: Message, context: TurnContext) -> Awaitable[Any]:
        """Take a turn.

        Returns:
            The answer, a JSON value or a `Reply`. Whoever asked gets it, also when it is None:
            that the turn is done is worth knowing. Whoever only told something gets nothing.

        Raises:
            CaxtonError: The turn failed; its advice decides whether it is tried again.
        """
        ...

    def after_crash(self) -> None:
        """Begin anew: a turn broke with an exception that nobody raised on purpose."""
        ...

    async def close(self) -> None:
        """Release what the agent holds. Called when another version has replaced it."""
        ...
