"""What one turn of a guest may still spend on models: looked up when it first asks.

The sums are those of agents with a prompt: one turn, one conversation, one day, kept in the same
books.
"""

from collections.abc import Callable

from caxton_node.llm.budget import BudgetDecision
from caxton_node.llm.model import ModelReply, ModelRequest
from caxton_node.routing.clock import Clock
from caxton_node.runtime.past import Pasts
from caxton_node.runtime.spending import Spending, day_of
from caxton_node.store.protocol import Store, UsageTotal

__all__ = ["NewSpending", "Purse"]

NewSpending = Callable[[UsageTotal, UsageTotal], Spending]
"""Makes the sums of a turn, of what was spent in its conversation and on its day before."""


class Purse:
    """The budget of one turn.

    Args:
        agent: Whose it is.
        conversation_id: That the turn belongs to.
        new_spending: Makes its sums.
        pasts: Tells what was spent before.
        store: Keeps what is spent.
        clock: Tells the day.
    """

    def __init__(
        self,
        agent: str,
        conversation_id: str,
        *,
        new_spending: NewSpending,
        pasts: Pasts,
        store: Store,
        clock: Clock,
    ) -> None:
        self._agent = agent
        self._conversation_id = conversation_id
        self._new_spending = new_spending
        self._pasts = pasts
        self._store = store
        self._clock = clock
        self._spending: Spending | None = None

    async def check(self, request: ModelRequest) -> BudgetDecision:
        """Decide whether a model may be called.

        Raises:
            Unavailable: `storage_unavailable`.
        """
        return (await self._known()).check(request)

    async def account(self, reply: ModelReply) -> None:
        """Write down what a call of a model cost.

        Raises:
            Unavailable: `storage_unavailable`.
        """
        spending = await self._known()
        await self._store.add_usage(
            agent=self._agent,
            conversation_id=self._conversation_id,
            day=day_of(self._clock.now_ms()),
            usage=spending.add(reply),
        )

    async def _known(self) -> Spending:
        if self._spending is None:
            day = day_of(self._clock.now_ms())
            past = await self._pasts.of(self._agent, self._conversation_id, day)
            self._spending = self._new_spending(past.in_conversation, past.today)
        return self._spending
