import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.agent import BudgetSettings
from caxton_node.llm.budget import (
    BudgetSpent,
    BudgetState,
    BudgetWarning,
    Exhausted,
    Proceed,
    ProceedWithWarning,
    Summarize,
    decide_budget,
)


def decide(budget, *, call=0, conversation=0, day=0, tokens=10, cost=0.0, **more):
    spent = BudgetState(
        call=BudgetSpent(tokens=call, cost_usd=call / 1000),
        conversation=BudgetSpent(tokens=conversation, cost_usd=conversation / 1000),
        day=BudgetSpent(tokens=day, cost_usd=day / 1000),
    )
    return decide_budget(budget, spent, request_tokens=tokens, request_cost_usd=cost, **more)


def test_without_limits_everything_proceeds():
    assert decide(BudgetSettings(), day=10**9, tokens=10**9) == Proceed()


def test_a_limit_that_is_just_reached_is_not_exceeded():
    assert decide(BudgetSettings(tokens_per_call=100), call=90) == Proceed()


def test_a_limit_that_would_be_exceeded_ends_the_turn():
    budget = BudgetSettings(tokens_per_call=100)
    assert decide(budget, call=91) == Exhausted(limit="tokens_per_call", allowed=100, needed=101)


@pytest.mark.parametrize(
    ("limit", "spent"),
    [
        ("tokens_per_call", {"call": 100}),
        ("tokens_per_conversation", {"conversation": 100}),
        ("tokens_per_day", {"day": 100}),
        ("cost_per_call", {"call": 200_000}),
        ("cost_per_conversation", {"conversation": 200_000}),
        ("cost_per_day", {"day": 200_000}),
    ],
)
def test_each_limit_looks_at_its_own_sum(limit, spent):
    decision = decide(BudgetSettings(**{limit: 100}), **spent)
    assert isinstance(decision, Exhausted)
    assert decision.limit == limit


def test_the_request_to_come_costs_something_too():
    decision = decide(BudgetSettings(cost_per_day=1.0), day=900, cost=0.2)
    assert isinstance(decision, Exhausted)


def test_an_agent_that_only_warns_goes_on_and_says_so():
    budget = BudgetSettings(tokens_per_day=1, overflow="warn")
    warning = BudgetWarning(limit="tokens_per_day", reason="exceeded")
    assert decide(budget, day=5) == ProceedWithWarning((warning,))
    assert "tokens_per_day is exceeded" in str(warning)


def test_a_turn_that_has_worked_may_sum_up_once():
    budget = BudgetSettings(tokens_per_call=50, overflow="summarize")
    assert decide(budget, call=60) == Summarize("tokens_per_call")
    assert isinstance(decide(budget, call=60, has_summarized=True), Exhausted)


def test_a_turn_that_has_not_begun_has_nothing_to_sum_up():
    budget = BudgetSettings(tokens_per_day=50, overflow="summarize")
    assert isinstance(decide(budget, day=60), Exhausted)


def test_an_unknown_price_is_said_and_not_taken_for_nothing():
    decision = decide(BudgetSettings(cost_per_day=0.01), cost=None)
    warning = BudgetWarning(limit="cost_per_day", reason="price_unknown")
    assert decision == ProceedWithWarning((warning,))
    assert "price of the model is unknown" in str(warning)


def test_an_unknown_sum_is_said_even_when_the_next_price_is_known():
    spent = BudgetState(day=BudgetSpent(tokens=5, cost_usd=None))
    decision = decide_budget(
        BudgetSettings(cost_per_day=1.0), spent, request_tokens=1, request_cost_usd=0.1
    )
    assert isinstance(decision, ProceedWithWarning)


def test_limits_in_tokens_hold_where_prices_are_unknown():
    budget = BudgetSettings(cost_per_day=0.01, tokens_per_day=5)
    assert isinstance(decide(budget, tokens=10, cost=None), Exhausted)


def test_the_narrowest_limit_is_named():
    budget = BudgetSettings(tokens_per_day=1, tokens_per_call=1)
    decision = decide(budget)
    assert isinstance(decision, Exhausted)
    assert decision.limit == "tokens_per_call"


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_spending_more_never_turns_a_refusal_into_a_yes(allowed, spent, more, request):
    budget = BudgetSettings(tokens_per_day=allowed)
    if isinstance(decide(budget, day=spent, tokens=request), Exhausted):
        assert isinstance(decide(budget, day=spent + more, tokens=request), Exhausted)
