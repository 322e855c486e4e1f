"""Whether a new version that takes a share of an agent's conversations is kept. Pure.

A *canary* is compared with the version in force, which goes on beside it: how many turns fail, and
how long they take. It is rolled back as soon as it is clearly worse, and promoted when it was
watched for long enough, over enough turns, and is not.

Conversations are chosen by their id, so that one stays with its version without being written down.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "CanarySettings",
    "Outcomes",
    "Promote",
    "RollBack",
    "Verdict",
    "Wait",
    "decide",
    "is_chosen",
]

DURATIONS_MAX: Final = 200
"""Latest turns of which durations are compared."""

FAILURES_MIN: Final = 3
"""Fewer failures are held to be chance."""

FAILURE_MARGIN: Final = 0.05
"""Share of turns that may fail more than twice as often as the running version's do."""

SLOWER_FACTOR_MAX: Final = 2.0
SLOWER_BY_S_MAX: Final = 0.1
"""A canary is too slow when its slowest twentieth is beyond both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """How a canary is watched."""

    share: float = 0.1
    """Of new conversations, more than 0 and at most 1."""
    watch_s: float = 300.0
    """How long at least."""
    turns_min: int = 20
    """Of the canary: with fewer it is not promoted by itself."""


@dataclass(slots=True)
class Outcomes:
    """What one version has done since the canary began."""

    turns: int = 0
    failures: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=DURATIONS_MAX))

    def note(self, duration_s: float, *, is_failure: bool) -> None:
        """Count a turn. How long a failed one took says nothing."""
        self.turns += 1
        if is_failure:
            self.failures += 1
        else:
            self.durations_s.append(duration_s)

    @property
    def failure_rate(self) -> float:
        """Share of turns that failed; 0 before the first."""
        return self.failures / self.turns if self.turns else 0.0

    @property
    def p95_s(self) -> float | None:
        """Of the latest turns that went well; None before the first."""
        if not self.durations_s:
            return None
        return sorted(self.durations_s)[int(len(self.durations_s) * 0.95)]


@dataclass(frozen=True, slots=True)
class Wait:
    """Not known yet."""


@dataclass(frozen=True, slots=True)
class Promote:
    """It is as good."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """It is worse."""

    reason: str


Verdict = Wait | Promote | RollBack


def decide(
    settings: CanarySettings,
    *,
    running: Outcomes,
    canary: Outcomes,
    is_quarantined: bool,
    elapsed_s: float,
) -> Verdict:
    """Return what is to become of a canary.

    Args:
        settings: How it is watched.
        running: What the version in force has done meanwhile.
        canary: What the new one has.
        is_quarantined: It broke its limits too often to be run.
        elapsed_s: Since it began.
    """
    if is_quarantined:
        return RollBack("it is in quarantine")
    allowed = 2 * running.failure_rate + FAILURE_MARGIN
    if canary.failures >= FAILURES_MIN and canary.failure_rate > allowed:
        return RollBack(
            f"{canary.failures} of {canary.turns} turns failed; of the running version "
            f"{running.failures} of {running.turns}"
        )
    if canary.turns < settings.turns_min:
        return Wait()
    slow, usual = canary.p95_s, running.p95_s
    if slow is not None and usual is not None and running.turns >= settings.turns_min:
        limit_s = max(SLOWER_FACTOR_MAX * usual, usual + SLOWER_BY_S_MAX)
        if slow > limit_s:
            return RollBack(
                f"one turn of twenty takes {slow:.3g} s or longer; of the running version "
                f"{usual:.3g} s"
            )
    return Promote() if elapsed_s >= settings.watch_s else Wait()


def is_chosen(conversation_id: str, *, salt: str, share: float) -> bool:
    """Return whether a conversation is of the share that gets the canary.

    Args:
        conversation_id: The same one is always answered alike.
        salt: Of the canary, so that each one meets other conversations.
        share: 0 to 1.
    """
    digest = hashlib.sha256(f"{salt}\n{conversation_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32
