"""Whatever bytes arrive: a checked agent or a refusal, never another error, and soon."""

import json
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caxton_node.agentfile import AgentFormat, ParsedAgent, parse_agent
from caxton_node.agentfile.aliases import ALIASES
from caxton_node.agentfile.schema import FIELDS, TABLES
from caxton_node.documents.decode import SOURCE_BYTES_MAX
from caxton_node.domain.errors import Rejected

FORMATS = list(AgentFormat)


def check_refusal(error):
    assert error.code == "invalid_agent"
    assert error.places
    for place in error.places:
        assert place.message
        assert place.rule
        assert str(place).isprintable()
    str(error).encode()


def outcome(source, format_):
    """Parse; return the parsed agent or None. Any other exception is the test's failure."""
    try:
        parsed = parse_agent(
            source, format=format_, file="f", environment={"SET": "x"}, known_tools=("echo",)
        )
    except Rejected as error:
        check_refusal(error)
        return None
    assert isinstance(parsed, ParsedAgent)
    return parsed


formats = st.sampled_from(FORMATS)

keys = st.one_of(
    st.sampled_from([*FIELDS, *ALIASES, *TABLES, "unknown"]),
    st.text(string.ascii_letters + "_-. \x1b\ud800\n", min_size=1, max_size=8),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(["${SET}", "${NO}", "${", "{{message}}", "{{x}}", "{{", "echo", "1.0.0", "5s"]),
)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=4),
    max_leaves=8,
)


def nested(flat):
    """Return a table with the dotted keys of `flat` taken apart."""
    table = {}
    for key, value in flat.items():
        head, dot, rest = key.partition(".")
        if dot and isinstance(table.setdefault(head, {}), dict):
            table[head][rest] = value
        elif not dot:
            table[head] = value
    return table


agents = st.dictionaries(keys, values, max_size=8).map(
    lambda flat: {"name": "a", "capabilities": ["c"], "system_prompt": "p", **nested(flat)}
)


@given(st.binary(max_size=300), formats)
def test_any_bytes_are_refused_or_parsed(data, format_):
    outcome(data, format_)


@given(st.text(st.characters(codec=None), max_size=300), formats)
@example("\ud800", AgentFormat.JSON)
@example("\ufeff", AgentFormat.TOML)
def test_any_text_is_refused_or_parsed(text, format_):
    outcome(text, format_)


@given(st.lists(st.sampled_from([
    "name", "capabilities", "llm", ".", " = ", "[", "]", "[[", "]]", "{", "}", '"', '"""', "'",
    "\n", "#", ",", "1", "\\", "true", "a", "x.y", " ",
]), max_size=60).map("".join))  # fmt: skip
def test_any_tokens_of_toml_are_refused_or_parsed(text):
    outcome(text, AgentFormat.TOML)


@given(st.lists(st.sampled_from([
    "name", "capabilities", ": ", "- ", "[", "]", "{", "}", '"', "'", "\n", "  ", "#", ",", "1",
    "&a ", "*a", "!!str ", "|", ">", "? ", "<<", "%", "@", "---\n", "...\n", "\t", "\\U0011ffff",
]), max_size=60).map("".join))  # fmt: skip
@example('"\\UFFFFFFFF"')
@example("a: |\n  x\n...\n")
def test_any_tokens_of_yaml_are_refused_or_parsed(text):
    outcome(f"---\n{text}\n---\nbody", AgentFormat.MARKDOWN)


@given(agents)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
def test_any_json_agent_is_refused_or_parsed(agent):
    outcome(json.dumps(agent), AgentFormat.JSON)


@given(st.sampled_from([key for key in FIELDS if "." not in key or key.count(".") == 1]), values)
@settings(deadline=None, max_examples=400)
def test_any_value_of_any_key_is_refused_or_parsed(key, value):
    agent = {"name": "a", "capabilities": ["c"], "system_prompt": "p"}
    outcome(json.dumps({**agent, **nested({key: value})}), AgentFormat.JSON)


@given(agents)
@settings(deadline=None)
def test_what_is_parsed_can_be_carried_as_json(agent):
    parsed = outcome(json.dumps(agent), AgentFormat.JSON)
    if parsed is not None:
        json.dumps([dict(parsed.spec.parameters), dict(parsed.spec.tool_config)], allow_nan=False)
        parsed.spec.system_prompt.encode()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "source",
    [
        "[" * 300_000,
        "{" * 300_000,
        '{"a":' * 100_000,
        "a" * 900_000,
        "a." * 400_000,
        "\n" * 900_000,
        "- " * 400_000,
        "a: &a [*a, *a]\n" * 5_000,
        "---\n" + "- " * 60_000 + "\n---",
        "---\n" + "[" * 120_000 + "\n---",
        "---\n" + "a: b\n" * 20_000 + "---",
        "---\n" * 100_000,
        '"' * 900_000,
        "'" * 900_000,
        '"""' + "\\" * 900_000,
        "x = '''" + "'" * 900_000,
        "system_prompt = '''" + "{{" * 90_000 + "'''",
        "name = '" + "a-" * 400_000 + "'",
        "".join(f"unknown{index} = 1\n" for index in range(9_000)),
        "[llm]\n" + "".join(f"unknown{index} = 1\n" for index in range(9_000)),
        "system_prompt = '" + "".join(f"{{{{a{index}}}}}" for index in range(20_000)) + "'",
        "k = 0x" + "f" * 900_000,
        "k = " + "1_" * 400_000 + "1",
        "k = 1" + "0" * 5_000,
        '{"k": 1' + "0" * 5_000 + "}",
        "".join(f"[t{index}]\n" for index in range(50_000)),
    ],
    ids=lambda source: source[:12].replace("\n", "/"),
)
def test_large_sources_are_refused(source, format_):
    assert outcome(source, format_) is None


def test_a_megabyte_of_documentation_is_read():
    text = "---\nname: a\ncapabilities: [c]\nsystem_prompt: p\n---\n" + "text\n" * 190_000
    assert outcome(text, AgentFormat.MARKDOWN) is not None


def test_more_than_a_megabyte_is_refused():
    with pytest.raises(Rejected) as caught:
        parse_agent(b"#" * (SOURCE_BYTES_MAX + 1), format=AgentFormat.TOML)
    assert caught.value.places[0].rule == "too_large"


@pytest.mark.parametrize(
    ("source", "rule", "line", "column"),
    [
        (b'name = "a"\nx = "\xff"', "not_utf8", 2, 6),
        (b"\xff\xfen\x00", "not_utf8", 1, 1),
        (b'name = "a"\n\x00', "not_text", 2, 1),
    ],
)
def test_what_is_no_text_is_refused_at_its_place(source, rule, line, column):
    with pytest.raises(Rejected) as caught:
        parse_agent(source, format=AgentFormat.TOML)
    (place,) = caught.value.places
    assert (place.rule, place.line, place.column) == (rule, line, column)


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    source = b'\xef\xbb\xbfname = "a"\r\ncapabilities = ["c"]\r\nsystem_prompt = "p"\r\nx = 1\r\n'
    with pytest.raises(Rejected) as caught:
        parse_agent(source, format=AgentFormat.TOML)
    (place,) = caught.value.places
    assert (place.field, place.line, place.column) == ("x", 4, 1)
