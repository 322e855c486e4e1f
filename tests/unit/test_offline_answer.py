import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.tool import ToolCall, ToolSpec
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.offline.answer import NOTE
from caxton_node.llm.offline.extracts import LINE_COUNT_MAX, extract_lines
from caxton_node.llm.offline.provider import OfflineModel, decide_reply
from caxton_node.llm.offline.recall import matching_facts, recalled_facts

ECHO = ToolSpec(name="echo", description="Give back the text.", parameters={}, is_read_only=True)


def reply_to(question, *results, tools=(), **more):
    messages = [ChatMessage(role="user", content=question)]
    for number, (name, content) in enumerate(results):
        messages.append(
            ChatMessage(role="assistant", tool_calls=(ToolCall(id=str(number), name=name),))
        )
        messages.append(ChatMessage(role="tool", tool_call_id=str(number), content=content))
    return decide_reply(
        ModelRequest(messages=tuple(messages), tools=tools, question=question, **more)
    )


@pytest.mark.parametrize("question", ["Hello", "", "Statistics, please", "What can you do?"])
def test_every_answer_says_that_no_model_is_configured(question):
    reply = reply_to(question, tools=(ECHO,))
    assert reply.text.endswith(NOTE)
    assert reply.metadata["offline"] is True
    assert (reply.metadata["provider"], reply.metadata["model"]) == ("offline", "none")
    assert (reply.provider, reply.model) == ("offline", "none")


async def test_the_text_is_shown_to_an_observer_too():
    deltas = []
    request = ModelRequest(messages=(ChatMessage(role="user", content="hm"),))
    reply = await OfflineModel().complete(request, deltas.append)
    assert "".join(deltas) == reply.text


@pytest.mark.parametrize("question", ["?!?", "   ", "🙂🙂"])
def test_a_request_without_words_is_not_understood(question):
    assert reply_to(question).metadata["performative"] == "not_understood"


def test_a_request_that_nothing_serves_is_understood_and_says_what_there_is():
    reply = reply_to("Fold the laundry", tools=(ECHO,))
    assert "performative" not in reply.metadata
    assert "No tool of this agent fits the request." in reply.text
    assert "Tools: echo." in reply.text


def test_numbers_are_repeated_exactly_as_the_result_has_them():
    numbers = '{"mean": 1.10, "big": 123456789012345678901234567890, "tiny": 1e-400}'
    text = reply_to("mean", ("stats", numbers)).text
    for spelled in ("mean: 1.10", "big: 123456789012345678901234567890", "tiny: 1e-400"):
        assert spelled in text


def test_every_result_names_its_tool():
    text = reply_to("both", ("one", '{"a": 1}'), ("two", '{"b": 2}')).text
    assert "From one:\na: 1" in text
    assert "From two:\nb: 2" in text


def test_a_result_that_only_led_to_another_is_one_line():
    kept = json.dumps({"artifact": "artifact:1", "media_type": "text/csv", "status": 200})
    messages = (
        ChatMessage(role="user", content="statistics"),
        ChatMessage(role="assistant", tool_calls=(ToolCall(id="1", name="get"),)),
        ChatMessage(role="tool", tool_call_id="1", content=kept),
        ChatMessage(
            role="assistant",
            tool_calls=(ToolCall(id="2", name="count", arguments={"data": "artifact:1"}),),
        ),
        ChatMessage(role="tool", tool_call_id="2", content='{"rows": 4}'),
    )
    text = decide_reply(ModelRequest(messages=messages)).text
    assert text.startswith("From count:\nrows: 4")
    assert "Steps before: get (media type text/csv, status 200)." in text


def test_a_failed_call_is_told_with_its_hint():
    text = reply_to(
        "get it", ("get", '{"error": "No such page.", "hint": "Check the address."}')
    ).text
    assert "get failed:\nNo such page.\nCheck the address." in text


def test_columns_of_statistics_are_one_line_each():
    columns = [
        {"name": "units", "count": 4, "mean": 2.5},
        {"name": "region", "count": 4, "top": [{"value": "north", "count": 2}]},
    ]
    assert extract_lines({"columns": columns}, "") == [
        "columns:",
        "  - units: count 4, mean 2.5",
        "  - region: count 4, top (north: count 2)",
    ]


def test_columns_keyed_by_their_names_are_one_line_each_too():
    lines = extract_lines({"columns": {"units": {"count": 4, "mean": 2.5}}}, "")
    assert lines == ["columns:", "  units: count 4, mean 2.5"]


def test_blocks_of_the_model_context_protocol_are_their_text():
    assert extract_lines([{"type": "text", "text": "On branch main"}], "") == ["On branch main"]


def test_of_a_long_text_the_sentences_that_fit_are_taken():
    text = "Filler about nothing. " * 200 + "The rate limit is 60 a minute. " + "More. " * 100
    lines = extract_lines(text, "What is the rate limit?")
    assert "The rate limit is 60 a minute." in lines
    assert lines[-1].startswith("… (")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@given(JSON)
def test_any_result_makes_a_bounded_number_of_lines(value):
    lines = extract_lines(value, "what is it")
    assert len(lines) <= LINE_COUNT_MAX
    assert all(isinstance(line, str) for line in lines)


def test_memory_answers_with_the_fact_as_it_stands():
    fact = "Alice prefers green tea."
    reply = reply_to("What does Alice drink?", knowledge=(fact, "Bob likes coffee."))
    assert f"From memory:\n- {fact}" in reply.text
    assert "Bob" not in reply.text


def test_memory_that_says_nothing_of_it_is_not_repeated():
    reply = reply_to("Where is the printer?", knowledge=("Alice prefers green tea.",))
    assert "Nothing in memory matches it either." in reply.text
    assert "Alice" not in reply.text


@pytest.mark.parametrize(
    "heading", ["Relevant knowledge:", "## Memory", "**Known facts:**", "What you remember:"]
)
def test_facts_are_found_in_the_prompt_below_their_heading(heading):
    content = f"You are helpful.\n\n{heading}\n- Alice likes tea.\n- Bob likes coffee.\n\nBe brief."
    request = ModelRequest(messages=(ChatMessage(role="system", content=content),))
    assert recalled_facts(request) == ("Alice likes tea.", "Bob likes coffee.")


def test_facts_handed_over_go_before_those_in_the_prompt():
    content = "Knowledge:\n- From the prompt."
    request = ModelRequest(
        messages=(ChatMessage(role="system", content=content),), knowledge=("Handed over.",)
    )
    assert recalled_facts(request) == ("Handed over.",)


def test_the_fact_that_says_most_comes_first():
    facts = ("Paris has a tower.", "The tower of Paris was built in 1889.")
    assert matching_facts("When was the tower of Paris built?", facts)[0] == facts[1]
