"""What is kept of a third-party server's tool list."""

import pytest

from loadtests.tool_choice.collect import BadAnswer, merged, tool_record

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


def test_hints_become_booleans():
    hints = {"readOnlyHint": False, "destructiveHint": True}
    tool = {"name": "wipe", "description": "Wipe.", "inputSchema": SCHEMA, "annotations": hints}

    assert tool_record(tool) == {
        "name": "wipe",
        "description": "Wipe.",
        "parameters": SCHEMA,
        "read_only": False,
        "destructive": True,
    }


def test_a_tool_without_description_and_hints_promises_nothing():
    record = tool_record({"name": "look", "inputSchema": SCHEMA})

    assert (record["description"], record["read_only"], record["destructive"]) == ("", False, False)


@pytest.mark.parametrize("tool", [{"name": "look"}, {"inputSchema": SCHEMA}, "look"])
def test_a_tool_without_name_or_schema_is_refused(tool):
    with pytest.raises(BadAnswer, match="form"):
        tool_record(tool)


def test_of_two_tools_with_one_name_the_first_stays():
    first = tool_record({"name": "echo", "description": "first", "inputSchema": SCHEMA})
    second = tool_record({"name": "echo", "description": "second", "inputSchema": SCHEMA})
    other = tool_record({"name": "look", "inputSchema": SCHEMA})

    assert merged([[first], [other, second]]) == [first, other]
