"""JMESPath within bounds: no data and no expression takes the node down."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools.builtin.json_processor import JsonProcessor
from caxton_node.tools.query import DEPTH_MAX, QueryError, load_json, search
from tests.tool_bench import call, tool_context

DATA = {"items": [{"name": "a", "price": 5}, {"name": "b", "price": 15}], "naïve": True}


async def query(tmp_path, **arguments):
    return await call(JsonProcessor(), await tool_context(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("expression", "result", "kind"),
    [
        ("items[?price > `10`].name", ["b"], "array"),
        ("sum(items[].price)", 20, "number"),
        ("items[0]", {"name": "a", "price": 5}, "object"),
        ("nothing", None, "null"),
        ('"naïve"', True, "boolean"),
        ("items[1].name", "b", "string"),
    ],
)
async def test_an_expression_finds_values(tmp_path, expression, result, kind):
    found = await query(tmp_path, data=DATA, expression=expression)
    assert (found.content["result"], found.content["type"]) == (result, kind)


async def test_without_an_expression_everything_is_returned(tmp_path):
    assert (await query(tmp_path, data=DATA)).content["result"] == DATA


async def test_an_artifact_is_read_and_a_large_result_is_kept(tmp_path):
    context = await tool_context(tmp_path)
    data = b"[" + b",".join(b'{"n":%d}' % n for n in range(20_000)) + b"]"
    await context.artifacts.put(name="x.json", media_type="application/json", data=data)
    found = await call(JsonProcessor(), context, artifact="artifact:1", expression="[].n")
    assert (found.content["artifact"], found.content["media_type"]) == (
        "artifact:2",
        "application/json",
    )
    assert found.content["length"] == 20_000
    assert load_json((await context.artifacts.get("artifact:2"))[1])[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    "expression", ["items[", "sum(items)", "nope(@)", "length(`1`)", "@ +", "(" * 900, "a" * 1_001]
)
def test_a_wrong_expression_is_a_query_error(expression):
    with pytest.raises(QueryError):
        search(expression, DATA)


async def test_a_wrong_expression_is_an_error_result(tmp_path):
    found = await query(tmp_path, data=DATA, expression="items[")
    assert found.is_error
    assert "\n" not in found.content["error"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"[" * 80 + b"]" * 80])
async def test_what_is_no_sane_json_is_an_error_result(tmp_path, data):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="x.json", media_type="application/json", data=data)
    assert (await call(JsonProcessor(), context, artifact="artifact:1")).is_error


def test_too_many_values_are_refused():
    with pytest.raises(QueryError, match="1,000,000 values"):
        load_json(b"[" + b"0," * 1_000_000 + b"0]")


def test_data_up_to_the_depth_is_read():
    assert load_json(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 100),
        "|".join(["[@,@][]"] * 100),
        "|".join(["[@,@]"] * 100) + "|to_string(@)",
        "|".join(["{a:@,b:@}"] * 90),
        "|".join(["join('',[@,@])"] * 60),
    ],
)
def test_an_expression_that_doubles_its_result_is_stopped(expression):
    with pytest.raises(QueryError, match="too much data"):
        search(expression, "x", clock=lambda: 0.0)


def test_an_expression_that_takes_too_long_is_stopped():
    seconds = iter(range(1_000))
    with pytest.raises(QueryError, match="longer than 5 s"):
        search("[].a.b.c", [{"a": {"b": {"c": 1}}}] * 10, clock=lambda: float(next(seconds)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)
expressions = st.lists(
    st.sampled_from(
        ["a", "b", ".", "[", "]", "[]", "*", "@", "|", "sort(", "sum(", "max_by(", ")", ",", "&a",
         "?", "==", ">", "`1`", "!", "to_number(", "keys(", "'x'", "0", ":", "{", "}", "join("]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@given(expressions | st.text(max_size=20), json_values)
def test_no_expression_raises_anything_but_the_query_error(expression, value):
    with contextlib.suppress(QueryError):
        search(expression, value)
