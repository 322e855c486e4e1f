"""Whether an agent may afford its next call of a model.

A budget has six limits: tokens and dollars, for one call of the agent (a turn with all its
rounds), one conversation and one day. It is asked before each call of the model, with what was
spent and with an estimate of what the request will send. The answer's length is not known
beforehand, so a limit can be passed by one answer, never by two.

A limit in dollars needs a price. Where the price of the model is unknown, the limit cannot be
kept; the decision says so with a warning and the call goes on, because a node that refused would
make every agent with a cost limit useless until somebody typed in prices.

Arithmetic only. The caller keeps the sums and acts on the decision.
"""

from dataclasses import dataclass
from typing import Literal

from caxton_node.domain.agent import BudgetSettings

__all__ = [
    "BudgetDecision",
    "BudgetSpent",
    "BudgetState",
    "BudgetWarning",
    "Exhausted",
    "LimitName",
    "Proceed",
    "ProceedWithWarning",
    "Summarize",
    "decide_budget",
]

LimitName = Literal[
    "tokens_per_call",
    "tokens_per_conversation",
    "tokens_per_day",
    "cost_per_call",
    "cost_per_conversation",
    "cost_per_day",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent:
    """A sum over some time."""

    tokens: int = 0
    """Input and output together."""
    cost_usd: float | None = 0.0
    """None as soon as one call in the sum had no known price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What an agent has spent so far."""

    call: BudgetSpent = BudgetSpent()
    """In this turn."""
    conversation: BudgetSpent = BudgetSpent()
    """In this conversation, this turn included."""
    day: BudgetSpent = BudgetSpent()
    """Today (UTC), this turn included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning:
    """One thing to tell the caller besides the answer."""

    limit: LimitName
    reason: Literal["exceeded", "price_unknown"]

    def __str__(self) -> str:
        if self.reason == "exceeded":
            return f"The budget {self.limit} is exceeded."
        return f"The budget {self.limit} cannot be checked: the price of the model is unknown."


@dataclass(frozen=True, slots=True)
class Proceed:
    """Within every limit."""


@dataclass(frozen=True, slots=True)
class ProceedWithWarning:
    """Call the model, and say this in the reply's metadata."""

    warnings: tuple[BudgetWarning, ...]


@dataclass(frozen=True, slots=True)
class Summarize:
    """Call the model once more, without tools, for an answer from what there is."""

    limit: LimitName


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """Do not call the model."""

    limit: LimitName
    allowed: float
    needed: float
    """What the sum would be after the request, in the limit's unit."""


BudgetDecision = Proceed | ProceedWithWarning | Summarize | Exhausted


def decide_budget(
    budget: BudgetSettings,
    spent: BudgetState,
    *,
    request_tokens: int,
    request_cost_usd: float | None,
    has_summarized: bool = False,
) -> BudgetDecision:
    """Decide on the next call of the model.

    Args:
        budget: The agent's limits, and what to do when one is reached.
        spent: So far.
        request_tokens: Estimate for the request, as by `estimate_request_tokens`.
        request_cost_usd: What these tokens cost; None when the price is unknown.
        has_summarized: This turn has had its `Summarize`; there is no second one.
    """
    reached: list[Exhausted] = []
    unpriced: list[LimitName] = []
    for limit, allowed, used in _limits(budget, spent):
        if limit.startswith("tokens"):
            needed: float | None = (used or 0) + request_tokens
        else:
            needed = None if used is None or request_cost_usd is None else used + request_cost_usd
        if needed is None:
            unpriced.append(limit)
        elif needed > allowed:
            reached.append(Exhausted(limit=limit, allowed=allowed, needed=needed))
    if reached and budget.overflow != "warn":
        # A turn that has done nothing yet has nothing to summarise. Without this, an agent whose
        # day is spent would still make one call for every message.
        if budget.overflow == "summarize" and spent.call.tokens > 0 and not has_summarized:
            return Summarize(reached[0].limit)
        return reached[0]
    warnings = [BudgetWarning(limit=limit.limit, reason="exceeded") for limit in reached]
    warnings += [BudgetWarning(limit=limit, reason="price_unknown") for limit in unpriced]
    return ProceedWithWarning(tuple(warnings)) if warnings else Proceed()


def _limits(
    budget: BudgetSettings, spent: BudgetState
) -> list[tuple[LimitName, float, float | None]]:
    """Return the limits that are set, from the narrowest, each with what was used of it."""
    rows: tuple[tuple[LimitName, float | None, float | None], ...] = (
        ("tokens_per_call", budget.tokens_per_call, spent.call.tokens),
        ("tokens_per_conversation", budget.tokens_per_conversation, spent.conversation.tokens),
        ("tokens_per_day", budget.tokens_per_day, spent.day.tokens),
        ("cost_per_call", budget.cost_per_call, spent.call.cost_usd),
        ("cost_per_conversation", budget.cost_per_conversation, spent.conversation.cost_usd),
        ("cost_per_day", budget.cost_per_day, spent.day.cost_usd),
    )
    return [(limit, allowed, used) for limit, allowed, used in rows if allowed is not None]
