"""What a provider that only guesses may call."""

import pytest

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.reading import read
from caxton_node.llm.offline.safety import is_allowed


def tool(parameter, **flags):
    return ToolSpec(
        name="ticket_desk",
        description="Create and list tickets.",
        parameters={
            "type": "object",
            "properties": {parameter: {"type": "string", "enum": ["list", "purge"]}},
        },
        **flags,
    )


@pytest.mark.parametrize("parameter", ["operation", "action", "command", "mode"])
def test_a_tool_that_can_write_may_be_asked_to_read(parameter):
    assert is_allowed(tool(parameter), {parameter: "list"}, read("Which are there?"))


def test_a_tool_that_can_write_is_not_asked_to_write_on_a_hunch():
    assert not is_allowed(tool("operation"), {"operation": "purge"}, read("Which are there?"))


def test_a_tool_that_may_destroy_is_not_even_asked_to_read():
    destroys = tool("operation", is_destructive=True)
    assert not is_allowed(destroys, {"operation": "list"}, read("List them all"))
