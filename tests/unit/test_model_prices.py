import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.tool import ToolCall, ToolSpec
from caxton_node.llm.estimate import estimate_request_tokens, estimate_tokens, estimate_usage
from caxton_node.llm.model import ChatMessage, ModelRequest, Usage
from caxton_node.llm.prices import Price, PriceTable

TABLE = PriceTable(
    {
        "small": Price(input_usd_per_million=1.0, output_usd_per_million=4.0),
        "openai/small": Price(input_usd_per_million=2.0, output_usd_per_million=8.0),
    }
)
USAGE = Usage(input_tokens=500_000, output_tokens=250_000)


def test_input_and_output_have_their_own_price():
    assert TABLE.cost_usd("elsewhere", "small", USAGE) == pytest.approx(1.5)


def test_a_price_for_the_provider_goes_before_one_for_the_model():
    assert TABLE.cost_usd("openai", "small", USAGE) == pytest.approx(3.0)


def test_a_model_without_a_price_has_an_unknown_cost():
    assert PriceTable().cost_usd("openai", "small", USAGE) is None


def test_the_offline_provider_is_known_to_be_free():
    assert PriceTable().cost_usd("offline", "none", USAGE) == 0.0


def test_four_bytes_are_about_a_token():
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "世界")] == [0, 1, 1, 2, 2]


def test_tools_and_calls_of_the_past_are_part_of_a_request():
    bare = ModelRequest(messages=(ChatMessage(role="user", content="hello"),))
    tool = ToolSpec(name="t", description="d" * 40, parameters={"type": "object"})
    call = ToolCall(id="1", name="t", arguments={"text": "x" * 40})
    full = ModelRequest(
        messages=(*bare.messages, ChatMessage(role="assistant", tool_calls=(call,))), tools=(tool,)
    )
    assert estimate_request_tokens(full) > estimate_request_tokens(bare) + 20


@given(st.text())
def test_any_text_has_an_estimate(text):
    usage = estimate_usage(ModelRequest(messages=()), text, ())
    assert usage.output_tokens == estimate_tokens(text)
