import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.errors import Failed
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.openai_wire import (
    CALL_COUNT_MAX,
    TEXT_LENGTH_MAX,
    ReplyAssembly,
    WireNames,
    wire_request,
)

REQUEST = ModelRequest(messages=(ChatMessage(role="user", content="hi"),))


def assembled(*chunks, names=(), part="delta"):
    assembly = ReplyAssembly(WireNames(names))
    for body in chunks:
        assembly.take({"choices": [{part: body}]}, part=part)
    return assembly.reply(REQUEST, provider="openai", model="m")


def call(arguments, **more):
    return {"tool_calls": [{"function": {"name": "t", "arguments": arguments}, **more}]}


def test_names_that_the_wire_forbids_are_replaced_and_found_again():
    names = WireNames(["web.search", "web/search", "a" * 80, "plain"])
    wire = [names.to_wire(name) for name in ("web.search", "web/search", "a" * 80, "plain")]
    assert wire == ["web_search", "web_search_2", "a" * 64, "plain"]
    assert [names.from_wire(name) for name in wire][:2] == ["web.search", "web/search"]


def test_a_name_that_was_never_sent_stays_what_it_is():
    assert WireNames(["a"]).from_wire("invented") == "invented"


@given(st.lists(st.text(max_size=80), unique=True, max_size=20))
def test_every_list_of_names_is_told_apart_on_the_wire(names):
    wire = WireNames(names)
    sent = [wire.to_wire(name) for name in names]
    assert [wire.from_wire(name) for name in sent] == names
    assert all(0 < len(name) <= 64 and name.isascii() for name in sent)


def test_openai_itself_is_told_the_limit_under_its_new_name():
    request = ModelRequest(messages=(), max_tokens=5)
    names = WireNames([])
    body = wire_request(
        request, model="m", base_url="https://api.openai.com/v1", names=names, is_stream=False
    )
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


def test_calls_that_all_say_index_zero_are_told_apart_by_their_ids():
    reply = assembled(call('{"n": 1}', index=0, id="a"), call('{"n": 2}', index=0, id="b"))
    assert [(one.id, one.arguments) for one in reply.tool_calls] == [
        ("a", {"n": 1}),
        ("b", {"n": 2}),
    ]


def test_an_id_that_is_repeated_with_every_piece_is_one_call():
    reply = assembled(call('{"n"', index=0, id="a"), call(": 1}", index=0, id="a"))
    assert [one.arguments for one in reply.tool_calls] == [{"n": 1}]


def test_a_call_without_an_id_gets_one():
    assert assembled(call("{}")).tool_calls[0].id


def test_no_arguments_at_all_are_empty_arguments():
    reply = assembled(call("", index=0, id="a"))
    assert reply.tool_calls[0].arguments == {}
    assert not reply.malformed_calls


@pytest.mark.parametrize("text", ["[1]", "3", '"x"', "null", "{", "[" * 5_000])
def test_arguments_that_are_no_object_are_malformed(text):
    reply = assembled(call(text, index=0, id="a"))
    assert reply.tool_calls[0].arguments == {}
    assert "JSON" in reply.malformed_calls["a"]


def test_a_refusal_is_the_text_and_is_marked():
    reply = assembled({"refusal": "I will not."}, part="message")
    assert (reply.text, reply.metadata["refusal"]) == ("I will not.", True)


def test_silence_about_usage_is_filled_with_a_marked_estimate():
    reply = assembled({"content": "four more words here"})
    assert reply.usage.output_tokens == 5
    assert reply.metadata["usage_estimated"] is True


def test_a_reply_longer_than_any_sense_is_refused():
    with pytest.raises(Failed, match="characters"):
        assembled({"content": "x" * (TEXT_LENGTH_MAX + 1)})


def test_more_calls_than_any_sense_are_refused():
    calls = [call("{}", index=index, id=str(index)) for index in range(CALL_COUNT_MAX + 1)]
    with pytest.raises(Failed, match="tool calls"):
        assembled(*calls)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("choices", "delta", "tool_calls", "function", "name", "arguments", "index"),
                    *("id", "content", "usage", "prompt_tokens", "completion_tokens"),
                    "finish_reason",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "model"]), JSON), max_size=5))
def test_any_json_from_an_endpoint_makes_some_reply(answers):
    assembly = ReplyAssembly(WireNames([]))
    for answer in answers:
        assembly.take(answer, part="delta")
    reply = assembly.reply(REQUEST, provider="openai", model="m")
    json.dumps([dict(one.arguments) for one in reply.tool_calls])
