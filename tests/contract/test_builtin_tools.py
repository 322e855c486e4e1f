"""What every built-in tool keeps to: its schema is whole, its flags hold, its results are JSON."""

import json

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from caxton_node.domain.tool import ToolResult
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.registry import ToolRegistry
from tests.tool_bench import tool_context

NAMES = (
    "chart_generator", "csv_parser", "echo", "file_storage", "http_client", "http_sender",
    "json_processor", "message_client", "state_tool", "statistics_engine", "template_engine",
    "text_processor", "ticket_system",
)  # fmt: skip
KNOWN_KEYWORDS = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "enum", "minimum", "maximum",
        "minLength", "maxLength", "minItems", "maxItems", "items", "default", "format",
        "description", "x-media-types", "x-exactly-one-of",
    }
)  # fmt: skip


@pytest.fixture
async def registry():
    async with builtin_tools() as tools:
        yield ToolRegistry(tools)


def schemas(schema):
    """A schema and all schemas inside it."""
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas(inner)
    if isinstance(schema.get("items"), dict):
        yield from schemas(schema["items"])


async def test_the_set_is_complete(registry):
    assert registry.names == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_every_parameter_is_described(registry, name):
    parameters = registry.get(name).spec.parameters
    assert parameters["type"] == "object"
    assert parameters["additionalProperties"] is False
    for parameter in parameters["properties"].values():
        assert parameter["description"].endswith("."), parameter


@pytest.mark.parametrize("name", NAMES)
async def test_no_schema_uses_what_the_checker_does_not_know(registry, name):
    spec = registry.get(name).spec
    for top in (spec.parameters, spec.config_schema):
        for schema in schemas(top):
            assert set(schema) <= KNOWN_KEYWORDS


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_required_exists(registry, name):
    parameters = registry.get(name).spec.parameters
    for key in (*parameters.get("required", ()), *parameters.get("x-exactly-one-of", ())):
        assert key in parameters["properties"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_parameter_that_takes_a_handle_is_called_artifact(registry, name):
    for key, schema in registry.get(name).spec.parameters["properties"].items():
        assert (key == "artifact") == (schema.get("format") == "artifact")
        assert (key == "artifact") == ("x-media-types" in schema)


async def test_what_is_read_only_is_not_destructive(registry):
    flags = {s.name: (s.is_read_only, s.is_destructive) for s in registry.specs(NAMES)}
    assert (True, True) not in flags.values()
    assert flags["http_client"] == (True, False)
    assert flags["http_sender"] == flags["file_storage"] == flags["state_tool"] == (False, True)
    assert flags["message_client"] == flags["ticket_system"] == (False, False)


@pytest.mark.parametrize("name", NAMES)
async def test_every_schema_can_be_sent_to_a_model(registry, name):
    spec = registry.get(name).spec
    assert json.loads(json.dumps(spec.parameters)) == spec.parameters


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
PATHS = st.sampled_from(["a.txt", "b/c.txt", "../x", ""])
BY_TYPE = {
    "string": st.text(max_size=6) | PATHS,
    "integer": st.integers(1, 20),
    "number": st.floats(0.1, 20),
    "boolean": st.booleans(),
    "array": st.lists(json_values, min_size=1, max_size=3) | st.lists(st.integers(), min_size=1),
    "object": st.dictionaries(st.text(max_size=3), json_values),
}


@st.composite
def arguments_for(draw, schema):
    """Arguments that mostly fit a schema: the right types, one of what excludes each other."""
    properties = schema["properties"]
    exclusive = schema.get("x-exactly-one-of", ())
    optional = [
        key for key in properties if key not in exclusive and key not in schema.get("required", ())
    ]
    chosen = [
        *schema.get("required", ()),
        *draw(st.lists(st.sampled_from(optional or ["_"]), unique=True)),
    ]
    if exclusive:
        chosen.append(draw(st.sampled_from(exclusive)))
    return {key: draw(value_for(properties[key])) for key in chosen if key in properties}


def value_for(schema):
    if schema.get("format") == "artifact":
        return st.sampled_from(["artifact:1", "artifact:2"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type", "any")
    if schema.get("items", {}).get("type") == "number":
        return st.lists(st.floats(-9, 9) | st.integers(), min_size=1, max_size=9)
    if schema.get("items", {}).get("type") == "string":
        return st.lists(st.sampled_from("ab"), min_size=1, max_size=2)
    return BY_TYPE.get(kind, json_values) if isinstance(kind, str) else BY_TYPE[kind[0]]


SAFE = [name for name in NAMES if name not in {"http_client", "http_sender"}]


@pytest.mark.parametrize("name", SAFE)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_arguments_that_fit_end_in_a_json_result(tmp_path, registry, name, data):
    tool = registry.get(name)
    arguments = data.draw(arguments_for(tool.spec.parameters))
    checked = check_arguments(tool.spec.parameters, arguments)
    assume(not checked.places)
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="a.csv", media_type="text/csv", data=b"a,b\nx,1\n")
    result = await tool.call(checked.values, context)
    assert isinstance(result, ToolResult)
    assert isinstance(result.content, dict)
    assert len(json.dumps(result.content)) < 100_000
    assert ("error" in result.content) == result.is_error
    for artifact in result.artifacts:
        assert result.content["artifact"] == artifact.handle
        assert result.content["media_type"] == artifact.media_type
