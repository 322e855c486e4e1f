"""Whether a failed delivery is tried again, and when. Pure.

Backoff grows by a factor from attempt to attempt and is spread by jitter, so that messages that
failed together do not come back together.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from caxton_node.domain.delivery import DeadReason
from caxton_node.domain.errors import CaxtonError

__all__ = ["GiveUp", "RetryIn", "RetrySettings", "after_failure"]

JITTER: Final = 0.2
"""A delay is spread evenly over ± this share of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How often and how fast."""

    attempts_max: int = 5
    initial_s: float = 0.1
    factor: float = 2.0
    delay_max_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Try again after a while."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Keep it as a dead letter."""

    reason: str
    """A `DeadReason` or a code of the error table, then the detail."""


def after_failure(
    error: CaxtonError, *, attempts: int, settings: RetrySettings, random: Random
) -> RetryIn | GiveUp:
    """Decide what follows the failure of attempt number `attempts` (1 is the first).

    Only what may succeed later is tried again: the error's own advice decides.
    """
    if error.kind.advice not in ("retry", "report"):
        return GiveUp(f"{error.code}: {error.detail}")
    if attempts >= settings.attempts_max:
        return GiveUp(f"{DeadReason.RETRIES_EXHAUSTED}: {error.code}: {error.detail}")
    delay_s = min(settings.initial_s * settings.factor ** (attempts - 1), settings.delay_max_s)
    return RetryIn(delay_s * random.uniform(1 - JITTER, 1 + JITTER))
