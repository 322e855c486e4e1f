"""What one turn may still spend: the sums that the budget is asked with. Pure."""

from dataclasses import replace
from datetime import UTC, datetime

from caxton_node.domain.agent import BudgetSettings
from caxton_node.llm.budget import (
    BudgetDecision,
    BudgetSpent,
    BudgetState,
    Proceed,
    decide_budget,
)
from caxton_node.llm.estimate import estimate_request_tokens
from caxton_node.llm.model import OFFLINE, ModelReply, ModelRequest, Usage
from caxton_node.llm.prices import PriceTable
from caxton_node.store.protocol import UsageTotal

__all__ = ["Spending", "day_of"]


def day_of(now_ms: int) -> str:
    """Return the day that spending counts for, such as `2026-01-31`, UTC.

    Args:
        now_ms: Milliseconds since 1970.
    """
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


class Spending:
    """The sums of one turn, one conversation and one day."""

    def __init__(
        self,
        *,
        budget: BudgetSettings,
        prices: PriceTable,
        provider: str,
        in_conversation: UsageTotal,
        today: UsageTotal,
    ) -> None:
        self._budget = budget
        self._prices = prices
        self._provider = provider
        self._state = BudgetState(
            conversation=_spent(in_conversation),
            day=_spent(today),
        )
        self._has_summarized = False

    def check(self, request: ModelRequest) -> BudgetDecision:
        """Decide whether the next call of the model may be made.

        Without a model nothing is spent, so nothing is refused.
        """
        if self._provider == OFFLINE:
            return Proceed()
        tokens = estimate_request_tokens(request)
        return decide_budget(
            self._budget,
            self._state,
            request_tokens=tokens,
            request_cost_usd=self._prices.cost_usd(
                self._provider, request.model or "", Usage(input_tokens=tokens)
            ),
            has_summarized=self._has_summarized,
        )

    def note_summary(self) -> None:
        """Remember that the turn has been granted its one last answer."""
        self._has_summarized = True

    def add(self, reply: ModelReply) -> UsageTotal:
        """Add what a call cost; return it for the books."""
        if reply.provider == OFFLINE:
            return UsageTotal()
        tokens = reply.usage.total_tokens
        cost = self._prices.cost_usd(reply.provider, reply.model, reply.usage)
        self._state = BudgetState(
            call=_plus(self._state.call, tokens, cost),
            conversation=_plus(self._state.conversation, tokens, cost),
            day=_plus(self._state.day, tokens, cost),
        )
        return UsageTotal(reply.usage.input_tokens, reply.usage.output_tokens, cost or 0.0)


def _spent(total: UsageTotal) -> BudgetSpent:
    return BudgetSpent(tokens=total.input_tokens + total.output_tokens, cost_usd=total.cost)


def _plus(spent: BudgetSpent, tokens: int, cost: float | None) -> BudgetSpent:
    known = None if spent.cost_usd is None or cost is None else spent.cost_usd + cost
    return replace(spent, tokens=spent.tokens + tokens, cost_usd=known)
