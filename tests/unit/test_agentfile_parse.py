"""What an agent file may say, and what its author is told."""

import json

import pytest

from caxton_node.agentfile import AgentFormat, detect_format, parse_agent, source_digest
from caxton_node.agentfile.inert import NOT_ACTED_UPON
from caxton_node.agentfile.schema import FIELDS
from caxton_node.domain.agent import AgentKind
from caxton_node.domain.capability import Capability
from caxton_node.domain.errors import Place, Rejected

HEAD = 'name = "a"\ncapabilities = ["c"]\n'
PROMPT = 'system_prompt = "p"\n'


def toml(text, **options):
    return parse_agent(text, format=AgentFormat.TOML, file="agent.toml", **options)


def markdown(text, **options):
    return parse_agent(text, format=AgentFormat.MARKDOWN, file="agent.md", **options)


def places(text, *, parse=toml, **options):
    with pytest.raises(Rejected) as caught:
        parse(text, **options)
    assert caught.value.code == "invalid_agent"
    return caught.value.places


def only_place(text, **options):
    (place,) = places(text, **options)
    return place


def only_warning(text, **options):
    (place,) = toml(text, **options).warnings
    return place


def test_a_minimal_agent_takes_the_defaults():
    spec = toml(HEAD + PROMPT).spec
    assert (spec.name, spec.version, spec.kind) == ("a", "1.0.0", AgentKind.LLM)
    assert spec.capabilities == (Capability("c"),)
    assert spec.limits.time_s == 120.0


def test_every_field_reaches_the_specification():
    text = """
name = "Full_Agent"
capabilities = ["data-analysis.visual:v2", "reporting"]
kind = "llm"
version = "1.2.3-rc.1+build"
description = "d"
tools = ["http_client", "csv_parser"]
system_prompt = "You are {{name}}, {{style}}."
user_prompt_template = "{{conversation_history}} {{message}} {{relevant_knowledge}}"
documentation = "# Doc"
depends_on = ["other-agent"]
[tool_config.http_client]
timeout = "5s"
[parameters]
style = "terse"
[llm]
provider = "openai"
model = "m"
temperature = 0
max_tokens = 100
base_url = "http://localhost:1234/v1/"
api_key = "${KEY}"
timeout = "1m30s"
retries = 0
fallback = ["n", "openai/o"]
[memory]
scope = "workspace"
[budget]
tokens_per_call = 1
tokens_per_conversation = 2
tokens_per_day = 3
cost_per_call = 0.5
cost_per_conversation = 1
cost_per_day = 2.5
overflow = "summarise"
[supervision]
strategy = "stop"
intensity = 3
period = "2m"
[limits]
time = 30
concurrency = 2
mailbox = 10
tool_rounds = 0
[permissions]
network_hosts = ["localhost:8000"]
files = "none"
senders = ["team-*"]
"""
    parsed = toml(text, environment={"KEY": "secret"})
    spec = parsed.spec
    assert parsed.warnings == ()
    assert [str(one) for one in spec.capabilities] == ["data-analysis.visual:v2", "reporting"]
    assert spec.tool_config == {"http_client": {"timeout": "5s"}}
    assert spec.parameters == {"style": "terse"}
    assert spec.depends_on == ("other-agent",)
    assert (spec.llm.base_url, spec.llm.api_key) == ("http://localhost:1234/v1", "secret")
    assert (spec.llm.timeout_s, spec.llm.retry_count_max) == (90.0, 0)
    assert spec.llm.fallback == ("n", "openai/o")
    assert (spec.memory.scope, spec.memory.is_enabled) == ("workspace", False)
    assert (spec.budget.tokens_per_day, spec.budget.cost_per_conversation) == (3, 1.0)
    assert spec.budget.overflow == "summarize"
    assert (spec.supervision.strategy, spec.supervision.period_s) == ("stop", 120.0)
    assert (spec.limits.time_s, spec.limits.mailbox, spec.limits.tool_rounds) == (30.0, 10, 0)
    assert spec.permissions.senders == ("team-*",)
    assert (spec.permissions.files, spec.permissions.network_hosts) == ("none", ("localhost:8000",))


def test_markdown_has_keys_in_front_and_documentation_below():
    text = "---\nname: a\ncapabilities: [c]\nsystem_prompt: |\n  You are.\n---\n\n# About\n\ntext\n"
    spec = markdown(text).spec
    assert (spec.system_prompt, spec.documentation) == ("You are.\n", "# About\n\ntext")


def test_json_is_the_same_structure():
    body = {"name": "a", "capabilities": ["c"], "system_prompt": "p", "llm": {"temperature": 1}}
    assert parse_agent(json.dumps(body), format=AgentFormat.JSON).spec.llm.temperature == 1.0


def test_places_of_json_name_the_field_and_no_line():
    body = json.dumps({"name": "a", "capabilities": ["A"], "system_prompt": "p"})
    with pytest.raises(Rejected) as caught:
        parse_agent(body, format=AgentFormat.JSON)
    (place,) = caught.value.places
    assert (place.field, place.line, place.rule) == ("capabilities[0]", None, "capability")


def test_a_json_null_is_a_key_that_is_not_there():
    body = json.dumps({"name": "a", "capabilities": ["c"], "system_prompt": "p", "llm": None})
    assert parse_agent(body, format=AgentFormat.JSON).spec.llm.model is None


def test_lines_in_markdown_count_from_the_top_of_the_file():
    text = "---\nname: a\ncapabilities:\n  - good\n  - Bad_One\nsystem_prompt: p\n---\n"
    (place,) = places(text, parse=markdown)
    assert (place.file, place.line, place.column) == ("agent.md", 5, 5)
    assert place.fix == 'Did you mean "bad-one"?'


def test_a_python_agent_needs_a_handler_and_no_prompt():
    spec = toml(HEAD + 'kind = "python"\nhandler = "pkg.module:Class"\n').spec
    assert (spec.kind, spec.handler) == (AgentKind.PYTHON, "pkg.module:Class")
    assert only_place(HEAD + 'kind = "python"\n').field == "handler"
    with_prompt = HEAD + 'kind = "python"\nhandler = "p:C"\n' + PROMPT
    assert only_place(with_prompt).rule == "not_allowed"


def test_a_handler_without_the_kind_is_refused():
    assert only_place(HEAD + PROMPT + 'handler = "p:C"\n').field == "handler"


def test_missing_keys_are_named_with_an_example():
    found = places("description = 'x'\n")
    assert [place.field for place in found] == ["name", "capabilities", "system_prompt"]
    assert found[0].fix == 'Add name = "my-agent"'
    assert {place.line for place in found} == {1}


def test_a_prompt_missing_from_markdown_explains_the_body():
    (place,) = places("---\nname: a\ncapabilities: [c]\n---\nYou are.\n", parse=markdown)
    assert "below it is documentation" in place.fix


@pytest.mark.parametrize(
    ("line", "rule", "fix"),
    [
        ("description = 1", "wrong_type", "quotes"),
        (f'description = "{"x" * 501}"', "too_long", "Shorten"),
        ("version = 1.0", "wrong_type", 'in quotes: "1.0.0"'),
        ('version = "v2"', "form", '"2.0.0"'),
        ('version = "01.0.0"', "form", '"1.0.0"'),
        ("version = true", "wrong_type", None),
        ('tools = "http_client"', "wrong_type", '["http_client"]'),
        ('tools = ["a", "a"]', "duplicate", "Remove one"),
        ('kind = "pyton"', "choice", '"python"'),
        ("llm.temperature = 2.1", "range", None),
        ("llm.temperature = nan", "range", None),
        ("llm.temperature = true", "wrong_type", None),
        ('llm.temperature = "0.5"', "wrong_type", "without quotes"),
        ("llm.max_tokens = 0", "range", None),
        ("llm.max_tokens = 1.5", "wrong_type", None),
        ("llm.max_tokens = 0x" + "f" * 20, "range", None),
        ("limits.time = 0x" + "f" * 2000, "duration", None),
        ("limits.memory = 0x" + "f" * 2000, "range", None),
        ("version = 0x" + "f" * 2000, "wrong_type", None),
        ("budget.cost_per_day = 0x" + "f" * 2000, "range", None),
        ('llm.timeout = "soon"', "duration", '"30s"'),
        ("llm.timeout = -1", "range", None),
        ("llm.timeout = inf", "duration", None),
        ('llm.provider = "ollama"', "choice", "base_url"),
        ('llm.base_url = "localhost:80"', "url", None),
        ('llm.base_url = "http://[::1"', "url", None),
        ('llm.api_key = "sk-12345"', "secret_in_file", "environment"),
        ('llm.api_key = "${KEY:-sk-12345}"', "secret_in_file", "environment"),
        ('memory.scope = "session"', "choice", '"agent"'),
        ('memory.enabled = "yes"', "wrong_type", "Write true"),
        ("memory = true", "wrong_type", "[memory]"),
        ('memory_scope = "all"', "choice", None),
        ('budget.overflow = "stop"', "choice", None),
        ("budget.cost_per_day = 0", "range", None),
        ('limits.memory = "10 bananas"', "size", '"10MB"'),
        ('limits.time = "2d"', "range", None),
        ('permissions.network_hosts = ["http://x"]', "form", None),
        ('schedule.timezone = "UTC"', "required", "schedule"),
        ('schedule.cron = "* * *"', "cron", None),
        ('schedule.cron = "0 24 * * *"', "cron", '"*/10"'),
        ('parameters = "x"', "wrong_type", None),
        ('parameters.message = "x"', "reserved_name", "Rename"),
        ('parameters."a b" = "x"', "form", None),
        ("parameters.n = nan", "range", None),
        ("parameters.n = 0x" + "f" * 20, "range", "as text"),
        ('tool_config.http_client = "x"', "wrong_type", None),
        ("temprature = 1", "unknown_key", "reference"),
        ("temperature = 1", "unknown_key", "[llm]"),
        ("timeout = 1", "unknown_key", "[llm]"),
        ('capabilites = ["x"]', "unknown_key", "`capabilities`"),
        ("llm.temprature = 1", "unknown_key", "`llm.temperature`"),
        ("llm.replicas = 1", "unknown_key", "[deployment]"),
        ("llm.caching = {}", "unknown_key", "Known here: provider"),
        ("agent = {}", "unknown_key", None),
    ],
)
def test_a_wrong_value_breaks_its_rule_at_its_line(line, rule, fix):
    place = only_place(HEAD + PROMPT + line + "\n")
    assert place.rule == rule
    assert place.line == 4
    if fix is not None:
        assert fix in place.fix


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Data_Analysis", "data-analysis"),
        ("DataAnalysis", "data-analysis"),
        ("data analysis", "data-analysis"),
        ("-data--analysis-", "data-analysis"),
        ("data.Visual.", "data.visual"),
        ("translate:2", "translate:v2"),
        ("translate:latest", "translate"),
        ("Größe", "gr-e"),
    ],
)
def test_a_misspelled_capability_is_repaired(written, meant):
    place = only_place(f'name = "a"\ncapabilities = ["{written}"]\n{PROMPT}')
    assert place.fix == f'Did you mean "{meant}"?'


def test_an_agent_has_at_most_twenty_capabilities():
    listed = json.dumps([f"c{index}" for index in range(21)])
    assert only_place(f'name = "a"\ncapabilities = {listed}\n{PROMPT}').rule == "too_many"


def test_a_name_suggests_its_repair():
    place = only_place(f'name = "7 My Agent!"\ncapabilities = ["c"]\n{PROMPT}')
    assert place.fix == 'Did you mean "My-Agent"?'


def test_an_unknown_tool_suggests_the_nearest():
    text = HEAD + PROMPT + 'tools = ["echo", "http_clent"]\n'
    place = only_place(text, known_tools=("http_client", "echo"))
    assert (place.field, place.rule) == ("tools[1]", "unknown_tool")
    assert (place.line, place.column) == (4, 18)
    assert place.fix == 'Did you mean "http_client"?'


def test_an_unknown_tool_is_told_beside_mistakes_in_the_same_list():
    found = places(HEAD + PROMPT + 'tools = ["ehco", 5]\n', known_tools=("echo",))
    assert [(place.field, place.rule) for place in found] == [
        ("tools[0]", "unknown_tool"),
        ("tools[1]", "wrong_type"),
    ]
    assert found[0].fix == 'Did you mean "echo"?'


def too_long(_name, config):
    """Tell of each key that is longer than three letters."""
    return [
        Place(f"`{key}` is too long.", field=key, rule="length", fix="Shorten it.")
        for key in config
        if len(key) > 3
    ]


def test_mistakes_in_what_is_said_of_a_tool_have_their_lines_and_come_with_all_others():
    text = 'name = "9"\n' + PROMPT + 'tools = ["echo"]\n[tool_config.echo]\nall = 1\nlong = 2\n'
    found = places(text, known_tools=("echo",), tool_mistakes=too_long)
    assert [(place.field, place.line) for place in found] == [
        ("name", 1),
        ("capabilities", 1),
        ("tool_config.echo.long", 6),
    ]
    assert found[2].message == "`tool_config.echo`: `long` is too long."
    assert (found[2].rule, found[2].fix, found[2].file) == ("length", "Shorten it.", "agent.toml")


def test_a_place_within_a_list_of_a_tools_settings_is_found():
    def second(_name, _config):
        return [Place("`hosts[1]` is wrong.", field="hosts[1]", rule="host")]

    text = HEAD + PROMPT + 'tools = ["echo"]\ntool_config.echo.hosts = ["a", "b"]\n'
    place = only_place(text, known_tools=("echo",), tool_mistakes=second)
    assert (place.field, place.line, place.column) == ("tool_config.echo.hosts[1]", 5, 32)


def test_settings_of_a_tool_that_does_not_exist_name_the_nearest():
    text = HEAD + PROMPT + 'tools = ["echo"]\n[tool_config.ehco]\nx = 1\n'
    place = only_place(text, known_tools=("echo",))
    assert (place.field, place.line, place.rule) == ("tool_config.ehco", 5, "unknown_tool")
    assert place.fix == 'Did you mean "echo"?'


def test_tools_are_not_asked_for_when_nobody_says_which_there_are():
    assert toml(HEAD + PROMPT + 'tools = ["anything"]\n').spec.tools == ("anything",)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    found = places("x = 1\nname = 1\nversion = 1\n[llm]\ntemperature = 9\n")
    assert [place.field for place in found] == [
        "x", "capabilities", "system_prompt", "name", "version", "llm.temperature",
    ]  # fmt: skip


def test_no_more_than_fifty_mistakes_are_shown():
    text = HEAD + PROMPT + "".join(f"unknown{index} = 1\n" for index in range(99))
    with pytest.raises(Rejected) as caught:
        toml(text)
    assert len(caught.value.places) == 50
    assert "99 mistakes" in caught.value.detail


@pytest.mark.parametrize(
    "header", ["[memory]\nscope = 'agent'", "[parameters]", "[tool_config.echo]", "[llm]"]
)
def test_a_prompt_under_a_table_header_is_taken_with_a_warning(header):
    text = HEAD + 'tools = ["echo"]\n' + header + '\nsystem_prompt = "You are."\n'
    parsed = toml(text)
    assert parsed.spec.system_prompt == "You are."
    (place,) = parsed.warnings
    assert place.rule == "misplaced_key"
    assert place.line == text.count("\n")
    assert parsed.spec.parameters == {}


def test_tools_and_capabilities_under_a_header_are_taken_too():
    text = 'name = "a"\n[memory]\ntools = ["echo"]\ncapabilities = ["c"]\nsystem_prompt = "p"\n'
    parsed = toml(text)
    assert parsed.spec.tools == ("echo",)
    assert [place.rule for place in parsed.warnings] == ["misplaced_key"] * 3


def test_a_misplaced_prompt_beside_a_right_one_is_an_error():
    place = only_place(HEAD + PROMPT + '[memory]\nsystem_prompt = "other"\n')
    assert (place.line, place.rule) == (5, "unknown_key")


def test_a_parameter_may_be_called_tools():
    text = HEAD + 'system_prompt = "{{tools}}"\n[parameters]\ntools = "hammer"\n'
    assert toml(text).spec.parameters == {"tools": "hammer"}


def test_a_misplaced_prompt_in_json_is_an_error():
    body = json.dumps({"name": "a", "capabilities": ["c"], "memory": {"system_prompt": "p"}})
    with pytest.raises(Rejected) as caught:
        parse_agent(body, format=AgentFormat.JSON)
    assert {place.rule for place in caught.value.places} == {"unknown_key", "required"}


def test_flat_memory_keys_are_as_good_as_the_table():
    spec = toml(HEAD + PROMPT + 'memory_enabled = true\nmemory_scope = "global"\n').spec
    assert (spec.memory.is_enabled, spec.memory.scope) == (True, "global")


def test_flat_and_nested_memory_may_agree():
    text = HEAD + PROMPT + "memory_enabled = false\n[memory]\nenabled = false\n"
    assert toml(text).warnings == ()


def test_flat_and_nested_memory_may_not_contradict():
    text = HEAD + PROMPT + "memory_enabled = true\n[memory]\nenabled = false\n"
    place = only_place(text)
    assert (place.rule, place.line) == ("contradiction", 6)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("llm.timeout_seconds = 30", "`llm.timeout`"),
        ("llm.retry_attempts = 3", "`llm.retries`"),
        ('requires = ["x"]', "`depends_on`"),
        ('memory.scope = "agent-only"', '"agent"'),
    ],
)
def test_spellings_from_elsewhere_are_taken_with_a_warning(line, meant):
    place = only_warning(HEAD + PROMPT + line)
    assert place.rule == "alias"
    assert meant in place.fix


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("permissions.approvals", 'tools = ["x"]\npermissions.approvals = ["x"]'),
        ("limits.memory", 'limits.memory = "64MiB"'),
        ("limits.fuel", "limits.fuel = 1000"),
        ("schedule.cron", 'schedule.cron = "*/5 9-17 * jan-mar mon,fri"'),
        ("author", 'author = "me"'),
        ("license", 'license = "MIT"'),
        ("tags", 'tags = ["x"]'),
    ],
)
def test_a_key_that_does_nothing_yet_says_so(key, line):
    place = only_warning(HEAD + PROMPT + line)
    assert (place.rule, place.field) == ("not_acted_upon", key)


def test_a_placement_is_read_into_its_full_spelling():
    parsed = toml(HEAD + PROMPT + 'deployment.placement = "zone=eu,least_loaded"')
    assert parsed.spec.deployment.placement == "least-loaded, zone=eu"


def test_the_table_of_inert_keys_names_known_keys():
    assert NOT_ACTED_UPON.keys() <= FIELDS.keys()


def test_asking_for_what_happens_anyway_is_no_warning():
    text = HEAD + PROMPT + "memory.enabled = false\ndeployment.replicas = 1\n"
    assert toml(text).warnings == ()


def test_configuration_of_a_tool_that_the_agent_lacks_is_a_warning():
    place = only_warning(HEAD + PROMPT + "[tool_config.echo]\nx = 1\n")
    assert (place.rule, place.field, place.line) == ("unused", "tool_config.echo", 4)


def test_a_template_without_the_message_is_a_warning():
    place = only_warning(HEAD + PROMPT + 'user_prompt_template = "go"')
    assert place.rule == "no_message"


def test_a_wrong_placeholder_is_found_within_its_text():
    text = HEAD + 'system_prompt = """\nfirst {{name}}\n  then {{requst}} {{request}}\n"""\n'
    first, second = places(text)
    assert (first.line, first.column, first.rule) == (5, 8, "unknown_placeholder")
    assert second.fix == "Did you mean {{message}}?"


def test_a_wrong_placeholder_in_markdown_is_found_within_its_text():
    text = "---\nname: a\ncapabilities: [c]\nsystem_prompt: |\n  one\n  two {{x y}}\n---\n"
    (place,) = places(text, parse=markdown)
    assert (place.line, place.column, place.rule) == (6, 7, "malformed_placeholder")


def test_variables_are_replaced_in_llm_and_tool_config_only():
    text = (
        HEAD + 'system_prompt = "${HOME}"\ntools = ["echo"]\n'
        '[llm]\nmodel = "${MODEL:-small}"\n[tool_config.echo]\nlist = [{ a = "x${A}y" }]\n'
    )
    spec = toml(text, environment={"A": "${HOME}", "HOME": "/root"}).spec
    assert spec.system_prompt == "${HOME}"
    assert spec.llm.model == "small"
    assert spec.tool_config["echo"]["list"] == [{"a": "x${HOME}y"}]


def test_an_unset_variable_is_named_at_its_place():
    text = HEAD + PROMPT + 'tools = ["echo"]\n[tool_config.echo]\na = ["${NO_SUCH}"]\n'
    place = only_place(text)
    assert (place.field, place.line, place.rule) == ("tool_config.echo.a[0]", 6, "unset_variable")
    assert "NO_SUCH" in place.message


def test_no_error_repeats_what_came_from_the_environment():
    text = HEAD + PROMPT + '[llm]\nprovider = "${P}"\nbase_url = "${P}"\ntimeout = "${P}"\n'
    with pytest.raises(Rejected) as caught:
        toml(text, environment={"P": "hunter2"})
    assert len(caught.value.places) == 3
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.places)


def test_no_error_repeats_a_key_that_was_written_into_the_file():
    assert "sk-12345" not in str(only_place(HEAD + PROMPT + 'llm.api_key = "sk-12345"'))


def test_a_specification_does_not_show_its_secrets():
    text = HEAD + PROMPT + 'tools = ["t"]\ntool_config.t.token = "${K}"\nllm.api_key = "${K}"\n'
    parsed = toml(text, environment={"K": "hunter2"})
    assert parsed.spec.llm.api_key == "hunter2"
    assert "hunter2" not in repr(parsed)


def test_documentation_cannot_be_written_twice():
    text = "---\nname: a\ncapabilities: [c]\nsystem_prompt: p\ndocumentation: x\n---\nbody\n"
    (place,) = places(text, parse=markdown)
    assert (place.field, place.line, place.rule) == ("documentation", 5, "contradiction")


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.toml", AgentFormat.TOML),
        ("dir/A.MD", AgentFormat.MARKDOWN),
        ("a.markdown", AgentFormat.MARKDOWN),
        ("a.json", AgentFormat.JSON),
    ],
)
def test_the_name_of_a_file_tells_its_format(name, format_):
    assert detect_format(name) is format_


@pytest.mark.parametrize("name", ["a.wasm", "a.yaml", "toml", ""])
def test_other_names_are_refused(name):
    with pytest.raises(Rejected):
        detect_format(name)


def test_the_digest_is_that_of_the_source():
    text = HEAD + PROMPT
    assert toml(text).digest == source_digest(text.encode())
    assert source_digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_half_a_surrogate_pair_is_refused():
    body = r'{"name": "a", "capabilities": ["c"], "system_prompt": "\ud800"}'
    with pytest.raises(Rejected) as caught:
        parse_agent(body, format=AgentFormat.JSON)
    (place,) = caught.value.places
    assert (place.field, place.rule) == ("system_prompt", "not_text")


def test_an_error_carries_no_control_characters_to_the_terminal():
    place = only_place(HEAD + PROMPT + r'"\u001b[31m" = 1' + "\n")
    assert place.field == r'"\x1b[31m"'
