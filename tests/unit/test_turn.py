"""One turn of an LLM agent, decision by decision."""

import pytest

from caxton_node.domain.agent import AgentSpec, BudgetSettings, LimitSettings
from caxton_node.domain.capability import Capability
from caxton_node.domain.performatives import Performative
from caxton_node.domain.tool import ToolCall, ToolResult, ToolSpec
from caxton_node.llm.budget import BudgetWarning, Exhausted, Proceed, ProceedWithWarning, Summarize
from caxton_node.llm.model import ChatMessage, ModelReply, Usage
from caxton_node.runtime.turn import (
    CALLS_IN_A_ROUND_MAX,
    TOOL_RESULT_TEXT_MAX,
    CallModel,
    CallTools,
    Fail,
    Say,
    Turn,
)

ECHO = ToolSpec(name="echo", description="Say it again", parameters={"type": "object"})


def turn(check=lambda _: Proceed(), *, tool_rounds: int = 10) -> Turn:
    spec = AgentSpec(
        name="a",
        capabilities=(Capability("x"),),
        limits=LimitSettings(tool_rounds=tool_rounds),
        budget=BudgetSettings(),
    )
    return Turn(
        spec=spec,
        prompt=(ChatMessage(role="user", content="hello"),),
        tools=(ECHO,),
        question="hello",
        check_budget=check,
    )


def says(text: str) -> ModelReply:
    return ModelReply(
        text=text,
        provider="p",
        model="m",
        usage=Usage(input_tokens=10, output_tokens=5),
    )


def calls(*arguments: str, **more) -> ModelReply:
    return ModelReply(
        tool_calls=tuple(
            ToolCall(id=f"call-{number}", name="echo", arguments={"text": text})
            for number, text in enumerate(arguments)
        ),
        usage=Usage(input_tokens=10, output_tokens=5),
        **more,
    )


def results(action: CallTools, content="done", *, is_error: bool = False):
    return [(call, ToolResult(content=content, is_error=is_error)) for call in action.calls]


def test_a_turn_begins_with_a_call_of_the_model():
    action = turn().begin()
    assert isinstance(action, CallModel)
    assert action.request.tools == (ECHO,)
    assert action.request.question == "hello"


def test_a_text_is_the_answer_with_what_it_cost():
    one = turn()
    one.begin()
    action = one.on_model(says("hi"))
    assert isinstance(action, Say)
    assert action.reply.content == "hi"
    assert action.reply.metadata["input_tokens"] == 10
    assert action.reply.metadata["provider"] == "p"


def test_a_model_may_name_the_act_of_its_answer():
    one = turn()
    one.begin()
    action = one.on_model(says('```json\n{"performative": "refuse", "content": "not today"}\n```'))
    assert action.reply.performative is Performative.REFUSE
    assert action.reply.content == "not today"


def test_an_answer_that_would_itself_ask_is_text():
    one = turn()
    one.begin()
    text = '{"performative": "request", "content": "do it yourself"}'
    assert one.on_model(says(text)).reply.content == text


def test_wanted_tools_are_called_and_their_results_shown_to_the_model():
    one = turn()
    one.begin()
    action = one.on_model(calls("a", "b"))
    assert isinstance(action, CallTools)
    action = one.on_tools(results(action))
    assert isinstance(action, CallModel)
    shown = [m for m in action.request.messages if m.role == "tool"]
    assert [(m.tool_call_id, m.content) for m in shown] == [
        ("call-0", '"done"'),
        ("call-1", '"done"'),
    ]


def test_an_error_is_shown_to_the_model_as_one():
    one = turn()
    one.begin()
    action = one.on_tools(results(one.on_model(calls("a")), "no such file", is_error=True))
    assert action.request.messages[-1].content == '{"error":"no such file"}'


def test_a_long_result_is_cut_and_says_so():
    one = turn()
    one.begin()
    action = one.on_tools(results(one.on_model(calls("a")), "x" * 50_000))
    content = action.request.messages[-1].content
    assert len(content) < TOOL_RESULT_TEXT_MAX + 100
    assert content.endswith("(cut; 50,002 characters)")


def test_arguments_that_cannot_be_read_are_passed_on_as_not_to_be_called():
    one = turn()
    one.begin()
    action = one.on_model(calls("a", malformed_calls={"call-0": "not JSON"}))
    assert action.malformed == {"call-0": "not JSON"}


def test_calls_above_the_bound_of_a_round_are_answered_not_made():
    one = turn()
    one.begin()
    action = one.on_model(calls(*map(str, range(CALLS_IN_A_ROUND_MAX + 2))))
    assert len(action.calls) == CALLS_IN_A_ROUND_MAX
    shown = one.on_tools(results(action)).request.messages
    assert sum(m.role == "tool" for m in shown) == CALLS_IN_A_ROUND_MAX + 2
    assert "not called" in shown[-1].content


def test_after_the_last_round_the_model_must_answer_without_tools():
    one = turn(tool_rounds=2)
    one.begin()
    one.on_tools(results(one.on_model(calls("a"))))
    action = one.on_tools(results(one.on_model(calls("b"))))
    assert action.request.tools == ()
    assert isinstance(one.on_model(says("so far")), Say)


def test_a_model_that_calls_tools_it_was_not_given_fails_the_turn():
    one = turn(tool_rounds=1)
    one.begin()
    one.on_tools(results(one.on_model(calls("a"))))
    action = one.on_model(calls("b"))
    assert isinstance(action, Fail)
    assert action.error.code == "loop_detected"


def test_the_same_call_three_times_is_a_loop():
    one = turn()
    one.begin()
    one.on_tools(results(one.on_model(calls("a"))))
    one.on_tools(results(one.on_model(calls("a"))))
    action = one.on_model(calls("a"))
    assert isinstance(action, Fail)
    assert action.error.code == "loop_detected"


def test_a_spent_budget_ends_the_turn_before_the_model_is_called():
    action = turn(lambda _: Exhausted(limit="tokens_per_day", allowed=10, needed=20)).begin()
    assert isinstance(action, Fail)
    assert action.error.code == "budget_exhausted"
    assert action.error.facts["limit"] == "tokens_per_day"


def test_the_budget_is_asked_before_every_call():
    asked = []

    def check(request):
        asked.append(len(request.messages))
        return Proceed()

    one = turn(check)
    one.begin()
    one.on_tools(results(one.on_model(calls("a"))))
    assert asked == [1, 3]


def test_a_warning_is_told_once_with_the_answer():
    warning = BudgetWarning(limit="tokens_per_call", reason="exceeded")
    one = turn(lambda _: ProceedWithWarning((warning,)))
    one.begin()
    one.on_tools(results(one.on_model(calls("a"))))
    assert one.on_model(says("hi")).reply.metadata["warnings"] == [str(warning)]


def test_a_summary_is_asked_for_without_tools():
    decisions = [Proceed(), Summarize("tokens_per_call")]
    one = turn(lambda _: decisions.pop(0))
    one.begin()
    action = one.on_tools(results(one.on_model(calls("a"))))
    assert isinstance(action, CallModel)
    assert action.request.tools == ()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"performative": 3}', '{"performative":"xx"}'])
def test_any_text_without_an_act_is_just_text(text):
    one = turn()
    one.begin()
    assert one.on_model(says(text)).reply.performative is None
