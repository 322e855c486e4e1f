"""A chart is well-formed SVG with as many marks as it has points, and stands for itself."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from caxton_node.tools.builtin.chart_generator import ChartGenerator
from tests.tool_bench import call, tool_context

SVG = "{http://www.w3.org/2000/svg}"
SALES = [
    {"region": "north", "amount": 1, "cost": 4.0},
    {"region": "south", "amount": 2, "cost": 3.0},
    {"region": "north", "amount": 3, "cost": 2.5},
    {"region": "west", "amount": 9, "cost": 1.0},
]
MARKS = {"bar": "rect", "line": "circle", "pie": "path", "scatter": "circle", "histogram": "rect"}


async def draw(tmp_path, **arguments):
    context = await tool_context(tmp_path)
    result = await call(ChartGenerator(), context, **arguments)
    assert not result.is_error, result.content
    svg = (await context.artifacts.get(result.content["artifact"]))[1]
    return result, svg


def context_file(result):
    return Path(result.content["path"]).read_bytes()


def mark_count(svg, kind):
    """How many shapes of the kind's own form react to a pointer, as every data point does."""
    shapes = ET.fromstring(svg).iter(f"{SVG}{MARKS[kind]}")
    return sum("reactive" in shape.get("class", "").split() for shape in shapes)


@pytest.mark.parametrize(
    ("kind", "points"), [("bar", 3), ("line", 3), ("pie", 3), ("scatter", 4), ("histogram", 3)]
)
async def test_every_point_has_a_mark(tmp_path, kind, points):
    result, svg = await draw(tmp_path, data=SALES, kind=kind)
    assert result.content["points"] == points
    assert mark_count(svg, kind) == points


@pytest.mark.parametrize("kind", MARKS)
async def test_the_picture_names_nothing_outside_itself(tmp_path, kind):
    _, svg = await draw(tmp_path, data=SALES, kind=kind)
    text = svg.decode()
    assert set(re.findall(r"[a-z]+://[^\"'\s)]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<!--|href|@import|<foreignObject|\bon\w+=", text)


async def test_names_in_the_data_are_text_and_not_markup(tmp_path):
    data = {"<script>alert(1)</script>": 1, '"><a href="http://x/">': 2}
    _, svg = await draw(tmp_path, data=data, title="</svg><script/>")
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
    assert not tags & {"script", "a"}


async def test_the_same_table_gives_the_same_picture(tmp_path):
    context = await tool_context(tmp_path)
    handles = {
        (await call(ChartGenerator(), context, data=SALES)).content["artifact"] for _ in range(2)
    }
    assert handles == {"artifact:1"}


async def test_the_path_leads_to_the_file(tmp_path):
    result, svg = await draw(tmp_path, data=SALES)
    assert context_file(result) == svg
    assert result.content["media_type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("sum", {"4"}), ("mean", {"2"}), ("count", {"2"})]
)
async def test_rows_of_one_category_become_one_number(tmp_path, aggregate, expected):
    _, svg = await draw(tmp_path, data=SALES[:1] + SALES[2:3], aggregate=aggregate)
    values = {e.text for e in ET.fromstring(svg).iter(f"{SVG}desc") if e.text}
    assert expected <= values


async def test_columns_are_chosen_by_name(tmp_path):
    result, _ = await draw(tmp_path, data=SALES, kind="scatter", x="cost", y="AMOUNT")
    assert (result.content["x"], result.content["y"]) == ("cost", "amount")


ORDERS = [
    {"id": 1, "note": "first", "region": "north", "sold_on": "2026-01-02", "amount": 5},
    {"id": 2, "note": "second", "region": "north", "sold_on": "2026-01-01", "amount": 6},
    {"id": 3, "note": "third", "region": "south", "sold_on": "2026-01-03", "amount": 7},
]


@pytest.mark.parametrize(
    ("kind", "x", "y"),
    [("bar", "region", "amount"), ("line", "sold_on", "amount"), ("histogram", "amount", "count")],
)
async def test_columns_that_nobody_named_are_chosen_with_sense(tmp_path, kind, x, y):
    result, _ = await draw(tmp_path, data=ORDERS, kind=kind)
    assert (result.content["x"], result.content["y"]) == (x, y)


async def test_categories_beyond_the_limit_are_counted(tmp_path):
    result, _ = await draw(tmp_path, data={f"k{n}": n for n in range(70)})
    assert (result.content["points"], result.content["omitted"]) == (50, 20)


async def test_a_long_line_is_thinned_out(tmp_path):
    result, _ = await draw(tmp_path, data=list(range(2_500)), kind="line")
    assert (result.content["points"], result.content["omitted"]) == (2_000, 500)


@pytest.mark.parametrize("values", [[5], [5, 5, 5], [0.0, 1e300]])
async def test_a_histogram_of_few_or_extreme_values_is_drawn(tmp_path, values):
    result, _ = await draw(tmp_path, data=values, kind="histogram")
    assert result.content["points"] >= 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": [{"a": "x"}]},
        {"data": [{"a": "x"}], "kind": "histogram"},
        {"data": [{"a": 1}], "kind": "scatter"},
        {"data": [{"a": "x", "b": None}]},
        {"data": {"a": -1, "b": 2}, "kind": "pie"},
        {"data": SALES, "y": "region"},
        {"data": SALES, "x": "country"},
        {"data": [1.7e308, -1.7e308], "kind": "histogram"},
        {"data": [[]]},
    ],
)
async def test_what_cannot_be_drawn_is_a_mistake(tmp_path, arguments):
    result = await call(ChartGenerator(), await tool_context(tmp_path), **arguments)
    assert result.is_error
    assert result.content["error"]
