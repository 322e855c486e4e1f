"""Statistics agree with an independent computation in exact fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools.builtin.csv_parser import CsvParser
from caxton_node.tools.builtin.statistics_engine import StatisticsEngine
from caxton_node.tools.table import table_from_json
from caxton_node.tools.table_facts import describe_numbers, group
from tests.tool_bench import call, tool_context

SALES = [
    {"id": 1, "region": "north", "amount": 10.5, "sold_on": "2026-01-31", "is_new": True},
    {"id": 2, "region": "south", "amount": 4.0, "sold_on": "2026-01-02", "is_new": False},
    {"id": 3, "region": "north", "amount": None, "sold_on": "2026-02-01", "is_new": True},
    {"id": 4, "region": "south", "amount": 7.25, "sold_on": None, "is_new": True},
]


async def describe(tmp_path, **arguments):
    return await call(StatisticsEngine(), await tool_context(tmp_path), **arguments)


def column(result, name):
    return next(facts for facts in result.content["columns"] if facts["name"] == name)


def quartile(values, share):
    """By definition 7 of Hyndman and Fan, in fractions."""
    ordered = sorted(map(Fraction, values))
    rank = (len(ordered) - 1) * share
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (rank - low))


sane_floats = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(st.lists(st.integers(-(2**53), 2**53), min_size=2) | st.lists(sane_floats, min_size=2))
def test_numbers_agree_with_exact_fractions(values):
    facts = describe_numbers(values)
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in exact) / (len(exact) - 1))
    assert facts["sum"] == pytest.approx(float(sum(exact)), rel=1e-15, abs=1e-300)
    assert facts["mean"] == pytest.approx(float(mean), rel=1e-14, abs=1e-300)
    assert facts["stdev"] == pytest.approx(deviation, rel=1e-12, abs=1e-150)
    scale = max(1.0, *(abs(float(value)) for value in exact))
    for name, share in (("q1", 1), ("median", 2), ("q3", 3)):
        expected = quartile(values, Fraction(share, 4))
        assert facts[name] == pytest.approx(expected, rel=1e-12, abs=1e-15 * scale)
    assert (facts["min"], facts["max"]) == (min(values), max(values))


def test_the_sum_of_whole_numbers_is_exact():
    assert describe_numbers([2**53, 1, 1])["sum"] == 2**53 + 2


def test_the_sum_of_floats_is_exactly_rounded():
    assert describe_numbers([1e16, 1.0, -1e16])["sum"] == 1.0


def test_one_number_has_no_deviation():
    facts = describe_numbers([7])
    assert (facts["median"], facts["q1"], facts["q3"], facts["stdev"]) == (7, 7, 7, None)


def test_no_numbers_have_no_facts():
    assert set(describe_numbers([]).values()) == {None}


def test_what_overflows_is_null_and_not_infinite():
    facts = describe_numbers([1.7e308, 1.7e308, -1.7e308])
    assert all(value is None or math.isfinite(value) for value in facts.values())
    assert describe_numbers([1.7e308, 1.7e308])["sum"] is None


async def test_every_column_is_described_by_its_type(tmp_path):
    result = await describe(tmp_path, data=SALES)
    assert result.content["row_count"] == 4
    assert column(result, "amount") == {
        "name": "amount",
        "type": "number",
        "count": 3,
        "missing": 1,
        "sum": 21.75,
        "mean": 7.25,
        "median": 7.25,
        "stdev": 3.25,
        "min": 4.0,
        "max": 10.5,
        "q1": 5.625,
        "q3": 8.875,
    }
    assert column(result, "region")["top"] == [
        {"value": "north", "count": 2},
        {"value": "south", "count": 2},
    ]
    assert (column(result, "sold_on")["min"], column(result, "sold_on")["max"]) == (
        "2026-01-02",
        "2026-02-01",
    )
    assert column(result, "is_new")["distinct"] == 2


async def test_a_breakdown_by_the_natural_grouping_is_included(tmp_path):
    groups = (await describe(tmp_path, data=SALES)).content["groups"]
    assert (groups["by"], groups["is_default"]) == ("region", True)
    assert [row["value"] for row in groups["rows"]] == ["south", "north"]
    assert groups["rows"][0]["measures"] == {"amount": {"sum": 11.25, "mean": 5.625, "count": 2}}


async def test_groups_are_made_by_the_column_that_was_named(tmp_path):
    groups = (await describe(tmp_path, data=SALES, group_by="IS_NEW")).content["groups"]
    assert [(row["value"], row["row_count"]) for row in groups["rows"]] == [(True, 3), (False, 1)]


async def test_groups_beyond_the_limit_are_counted():
    table = table_from_json([{"k": f"k{n}", "v": n} for n in range(60)])
    rows, omitted = group(table, 0, [1])
    assert (len(rows), omitted, rows[0]["value"]) == (50, 10, "k59")


async def test_only_the_columns_asked_for_are_described(tmp_path):
    result = await describe(tmp_path, data=SALES, columns=["Amount"])
    assert [facts["name"] for facts in result.content["columns"]] == ["amount"]


async def test_an_unknown_column_is_a_mistake_that_names_those_there_are(tmp_path):
    result = await describe(tmp_path, data=SALES, group_by="country")
    assert result.is_error
    assert "region" in result.content["hint"]


async def test_plain_values_are_described(tmp_path):
    result = await describe(tmp_path, values=[1, 2, 3, 4])
    assert column(result, "value")["mean"] == 2.5


async def test_a_parsed_table_is_described_by_its_handle(tmp_path):
    context = await tool_context(tmp_path)
    parsed = await call(CsvParser(), context, text="region,amount\nnorth,1\nnorth,2\nsouth,5\n")
    result = await call(StatisticsEngine(), context, artifact=parsed.content["artifact"])
    assert column(result, "amount")["sum"] == 8


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("text/csv", b"amount\n1\n2\n"),
        ("application/json", b'[{"amount":1},{"amount":2}]'),
        ("application/json", b'[["amount"],[1],[2]]'),
    ],
)
async def test_data_of_every_form_is_read(tmp_path, media_type, data):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="x", media_type=media_type, data=data)
    result = await call(StatisticsEngine(), context, artifact="artifact:1")
    assert column(result, "amount")["sum"] == 3


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("application/json", b"{"),
        ("application/json", b'[{"a":1}, 2]'),
        ("application/json", b"[[1]]"),
        ("application/json", b"[]"),
        ("image/png", b"x"),
        ("application/x-caxton-table", b"{}"),
        ("text/csv", b""),
    ],
)
async def test_what_holds_no_table_is_a_mistake(tmp_path, media_type, data):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="x", media_type=media_type, data=data)
    assert (await call(StatisticsEngine(), context, artifact="artifact:1")).is_error
