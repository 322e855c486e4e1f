from importlib.resources import files
from pathlib import Path

import pytest

from caxton_node.agentfile import AgentFormat, detect_format, parse_agent
from caxton_node.domain.errors import Rejected
from caxton_node.templates import instantiate, list_templates
from caxton_node.templates.catalog import MARKER
from caxton_node.tools.builtin import builtin_tools

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"

NAMES = [template.name for template in list_templates()]


async def tools() -> list[str]:
    async with builtin_tools() as built:
        return [tool.spec.name for tool in built] + ["knowledge_base"]


def test_there_are_templates_with_descriptions():
    assert {"api-client", "assistant", "data-analyzer"} <= set(NAMES)
    assert all(template.description for template in list_templates())


@pytest.mark.parametrize("name", NAMES)
async def test_a_template_parses_without_a_warning_as_it_stands(name):
    source = files("caxton_node.templates").joinpath(name, "agent.toml").read_bytes()
    parsed = parse_agent(source, format=AgentFormat.TOML, known_tools=await tools())
    assert (parsed.spec.name, parsed.warnings) == (MARKER, ())


@pytest.mark.parametrize("name", NAMES)
async def test_a_new_agent_has_its_name_everywhere(name):
    written = instantiate(name, agent_name="My_Agent-7")
    assert set(written) == {"README.md", "agent.toml"}
    parsed = parse_agent(written["agent.toml"], format=AgentFormat.TOML, known_tools=await tools())
    assert (parsed.spec.name, parsed.warnings) == ("My_Agent-7", ())
    assert "caxton chat My_Agent-7" in written["README.md"]
    assert MARKER not in "".join(written.values())


def test_an_unknown_template_suggests_the_nearest():
    with pytest.raises(Rejected) as caught:
        instantiate("data-analyser", agent_name="a")
    assert caught.value.hint == "Did you mean data-analyzer?"


@pytest.mark.parametrize("name", ["", 'a"\nx = 1', "7up"])
def test_a_name_that_no_agent_can_have_is_refused(name):
    with pytest.raises(Rejected) as caught:
        instantiate("assistant", agent_name=name)
    assert caught.value.places[0].field == "name"


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
async def test_an_example_parses_without_a_warning(path):
    parsed = parse_agent(
        path.read_bytes(),
        format=detect_format(path.name),
        environment={},
        known_tools=await tools(),
    )
    assert parsed.warnings == ()
