"""What a crash means for the agent. Pure.

A crash is an exception that no part of the server raised on purpose: a bug in an agent's code.
Its message is tried again and, if it keeps crashing, becomes a dead letter. An agent that leaves
too many such messages behind within a period is given up: it is `failed`, takes no more turns,
and its messages wait for somebody to restart it.
"""

from collections import deque
from dataclasses import dataclass, field

from caxton_node.domain.agent import SupervisionSettings

__all__ = ["CrashRecord"]


@dataclass(slots=True)
class CrashRecord:
    """The recent crashes of one agent."""

    settings: SupervisionSettings
    _given_up_at: deque[float] = field(default_factory=deque)

    def should_fail_at_once(self) -> bool:
        """Whether the first crash fails the agent, its message kept for later."""
        return self.settings.strategy == "stop"

    def record_given_up(self, now_s: float) -> bool:
        """Note that a crashing message was given up.

        Args:
            now_s: Seconds on any clock that does not go back.

        Returns:
            Whether the agent is to be given up as well.
        """
        recent = self._given_up_at
        recent.append(now_s)
        while recent and recent[0] < now_s - self.settings.period_s:
            recent.popleft()
        return len(recent) >= self.settings.intensity

    def clear(self) -> None:
        """Forget: somebody restarted the agent."""
        self._given_up_at.clear()
