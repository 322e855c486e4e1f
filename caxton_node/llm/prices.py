"""What models cost. Empty unless the operator fills it: a price we ship is wrong tomorrow.

A model without a price has an unknown cost, which is not a cost of nothing; only the offline
provider is known to be free. `caxton_node.llm.budget` says what an unknown cost means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from caxton_node.domain.agent import EMPTY
from caxton_node.llm.model import OFFLINE, Usage

__all__ = ["Price", "PriceTable"]

TOKENS_PER_PRICE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in US dollars for a million tokens."""

    input_usd_per_million: float
    output_usd_per_million: float

    def __post_init__(self) -> None:
        assert self.input_usd_per_million >= 0, "prices are checked where settings are parsed"
        assert self.output_usd_per_million >= 0, "prices are checked where settings are parsed"


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by name of the model.

    Args:
        prices: Keys are `provider/model` or `model`; the longer one wins.
    """

    prices: Mapping[str, Price] = field(default=EMPTY)

    def price(self, provider: str, model: str) -> Price | None:
        """Return the price of a model, or None where nobody said."""
        if provider == OFFLINE:
            return Price(input_usd_per_million=0.0, output_usd_per_million=0.0)
        return self.prices.get(f"{provider}/{model}") or self.prices.get(model)

    def cost_usd(self, provider: str, model: str, usage: Usage) -> float | None:
        """Return what a call cost in US dollars, or None where the price is unknown."""
        price = self.price(provider, model)
        if price is None:
            return None
        return (
            usage.input_tokens * price.input_usd_per_million
            + usage.output_tokens * price.output_usd_per_million
        ) / TOKENS_PER_PRICE
