"""The evaluation of tool choice: that it counts right, and that the tuned set stays tuned."""

import pytest

from caxton_node.domain.tool import ToolSpec
from loadtests.tool_choice.__main__ import (
    HERE,
    Case,
    Choice,
    Score,
    bm25,
    evaluate,
    first_keyword,
    load_cases,
    load_toolsets,
)

CLOCK = ToolSpec(name="clock", description="Tells the time.", parameters={}, is_read_only=True)
ECHO = ToolSpec(name="echo", description="Repeats a text.", parameters={}, is_read_only=True)


def case(*expected, **arguments):
    return Case(request="r", toolset="t", expected=expected, arguments=arguments)


def score():
    return Score(set_name="s", toolset="t", way="w")


def test_a_call_is_right_with_an_expected_tool_and_the_expected_arguments():
    row = score()
    chosen = Choice(ranking=("a", "b"), called="a", arguments={"x": 1, "y": 2})
    assert row.add(case("a", "c", x=1), chosen)
    assert not row.add(case("a", x=2), chosen)
    assert not row.add(case("b"), chosen)
    assert (row.tool_count, row.top_1, row.top_3, row.called_right) == (3, 2, 3, 1)


def test_a_call_where_none_is_wanted_is_a_false_one():
    row = score()
    assert not row.add(case(), Choice(ranking=("a",), called="a"))
    assert row.add(case(), Choice(ranking=("a",), called=None))
    assert (row.quiet_count, row.false_calls, row.tool_count) == (2, 1, 0)


def test_the_baselines_take_the_best_text_and_the_first_common_word():
    assert bm25("what time is it", (ECHO, CLOCK)).called == "clock"
    assert first_keyword("repeats the time", (ECHO, CLOCK)).called == "echo"
    assert bm25("xyzzy", (ECHO, CLOCK)).called is None


@pytest.mark.parametrize("toolset", ["builtin", "all-third-party"])
async def test_the_set_that_weights_were_tuned_on_stays_right(toolset):
    toolsets = await load_toolsets()
    if toolset not in toolsets:
        pytest.skip("no lists of other servers: python -m loadtests.tool_choice.collect")
    cases = [one for one in load_cases(HERE / "dev.jsonl") if one.toolset == toolset]
    wrong = []
    evaluate("dev", cases, toolsets, lambda one, choice: wrong.append((one.request, choice)))
    assert not wrong
