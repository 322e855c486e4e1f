"""Templates over values, tables and JSON."""

import json

from caxton_node.tools.builtin.template_engine import TemplateEngine
from tests.tool_bench import call, tool_context


async def test_a_template_is_filled_with_values(tmp_path):
    context = await tool_context(tmp_path)
    result = await call(TemplateEngine(), context, template="Dear {{name}}", values={"name": "Ada"})
    assert result.content == {"text": "Dear Ada"}


async def test_the_rows_of_a_table_are_data(tmp_path):
    context = await tool_context(tmp_path)
    await context.artifacts.put(
        name="a.csv", media_type="text/csv", data=b"region,units\nnorth,3\nsouth,\n"
    )
    result = await call(
        TemplateEngine(),
        context,
        template="{{title}}\n{{#data}}\n- {{region}}: {{units}}{{^units}}none{{/units}}\n{{/data}}",
        values={"title": "Units"},
        artifact="artifact:1",
    )
    assert result.content == {"text": "Units\n- north: 3\n- south: none\n"}


async def test_json_is_data(tmp_path):
    context = await tool_context(tmp_path)
    data = json.dumps({"total": 7}).encode()
    await context.artifacts.put(name="a.json", media_type="application/json", data=data)
    result = await call(
        TemplateEngine(), context, template="Total {{data.total}}", artifact="artifact:1"
    )
    assert result.content == {"text": "Total 7"}


async def test_a_long_text_is_kept_as_a_file_of_its_kind(tmp_path):
    context = await tool_context(tmp_path)
    result = await call(
        TemplateEngine(),
        context,
        template="<p>{{x}}</p>",
        values={"x": "<" * 3_000},
        escape="html",
    )
    artifact, data = await context.artifacts.get(result.content["artifact"])
    assert (artifact.name, artifact.media_type) == ("page.html", "text/html")
    assert data == b"<p>" + b"&lt;" * 3_000 + b"</p>"
    assert len(result.content["preview"]) == 500


async def test_mistakes_are_told_and_not_raised(tmp_path):
    context = await tool_context(tmp_path)
    unclosed = await call(TemplateEngine(), context, template="{{#a}}")
    missing = await call(TemplateEngine(), context, template="{{a}}")
    taken = await call(
        TemplateEngine(), context, template="x", values={"data": 1}, artifact="artifact:1"
    )
    assert unclosed.is_error
    assert unclosed.content["error"] == "Line 1: {{/a}} is missing."
    assert missing.is_error
    assert "a (line 1)" in missing.content["error"]
    assert taken.is_error


async def test_values_nested_without_end_are_refused(tmp_path):
    deep = 1
    for _ in range(30):
        deep = [deep, deep]
    context = await tool_context(tmp_path)
    result = await TemplateEngine().call(
        {"template": "{{x}}", "values": {"x": deep}, "escape": "none", "missing": "error"}, context
    )
    assert result.is_error
    assert "more than 1,000,000 values" in result.content["error"]
