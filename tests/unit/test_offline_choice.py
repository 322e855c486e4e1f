"""Which tool is called with which arguments, over tools that the provider has never seen."""

import json

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton_node.domain.tool import ToolCall, ToolSpec
from caxton_node.llm.model import ChatMessage, ModelRequest
from caxton_node.llm.offline.provider import decide_reply


def tool(name, description="", required=(), *, changes=False, destroys=False, produces=(), **props):
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": props, "required": list(required)},
        is_read_only=not changes,
        is_destructive=destroys,
        produces=produces,
    )


TEXT = {"type": "string"}
NUMBER = {"type": "number"}

WEATHER = tool("weather_report", "Weather forecast for a city.", ["city"], city=TEXT)
GRAB = tool("grab_page", "Download a web page.", ["address"], address={**TEXT, "format": "uri"})
READ = tool("show_file", "Read a text file.", ["path"], path=TEXT, head={"type": "integer"})
ERASE = tool("erase_file", "Delete a file.", ["path"], changes=True, destroys=True, path=TEXT)
MAKE = tool("make_folder", "Create a directory.", ["path"], changes=True, path=TEXT)
CLOCK = tool("clock", "Current time in a time zone.", ["timezone"], timezone=TEXT)
SHIFT = tool(
    "shift_time",
    "Convert a time between time zones.",
    ["source_timezone", "time", "target_timezone"],
    source_timezone=TEXT,
    time=TEXT,
    target_timezone=TEXT,
)
PLUS = tool("plus", "Add two numbers.", ["a", "b"], a=NUMBER, b=NUMBER)
FIND = tool("search_notes", "Search notes for words.", ["query"], query=TEXT, limit=NUMBER)
SAY = tool("parrot", "Repeat a message.", ["message"], message=TEXT)
PAINT = tool(
    "paint",
    "Paint a shape in a color.",
    ["color"],
    color={"type": "string", "enum": ["red", "dark-blue"]},
    isFilled={"type": "boolean"},
)
PARSE = tool(
    "table_reader",
    "Parse CSV text into a table.",
    ["data"],
    produces=("application/x-table",),
    data={"type": "string", "format": "artifact", "x-media-types": ["text/csv"]},
)
DESCRIBE = tool(
    "describe_table",
    "Statistics of a table: mean, median.",
    ["table"],
    table={"type": "string", "format": "artifact", "x-media-types": ["application/x-table"]},
    group_by=TEXT,
)
ALL = (
    *(WEATHER, GRAB, READ, ERASE, MAKE, CLOCK, SHIFT, PLUS, FIND, SAY, PAINT),
    *(PARSE, DESCRIBE),
)


def called(question, *results, tools=ALL):
    """Return the next call after `results` of earlier ones, each (name, arguments, result)."""
    messages = [ChatMessage(role="user", content=question)]
    for number, (name, arguments, result) in enumerate(results):
        call = ToolCall(id=str(number), name=name, arguments=arguments)
        messages.append(ChatMessage(role="assistant", tool_calls=(call,)))
        content = json.dumps(result)
        messages.append(
            ChatMessage(role="tool", tool_call_id=str(number), tool_name=name, content=content)
        )
    reply = decide_reply(ModelRequest(messages=tuple(messages), tools=tools, question=question))
    return (
        (reply.tool_calls[0].name, dict(reply.tool_calls[0].arguments))
        if (reply.tool_calls)
        else None
    )


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the weather in Oslo?", ("weather_report", {"city": "Oslo"})),
        ("Weather forecast for the city Springfield", ("weather_report", {"city": "Springfield"})),
        ("Download https://x.org/a", ("grab_page", {"address": "https://x.org/a"})),
        (
            "Show the first 5 lines of the file /tmp/a.txt",
            ("show_file", {"path": "/tmp/a.txt", "head": 5}),
        ),
        ("Create a directory /tmp/new", ("make_folder", {"path": "/tmp/new"})),
        ("What time is it in Tokyo?", ("clock", {"timezone": "Asia/Tokyo"})),
        (
            "Convert 3pm from London to Tokyo",
            (
                "shift_time",
                {
                    "source_timezone": "Europe/London",
                    "time": "15:00",
                    "target_timezone": "Asia/Tokyo",
                },
            ),
        ),
        ("Add 2 and 3.5", ("plus", {"a": 2, "b": 3.5})),
        ("Search my notes about rate limits", ("search_notes", {"query": "rate limits"})),
        ('Search notes for "to do", limit 3', ("search_notes", {"query": "to do", "limit": 3})),
        ("Repeat this message: I, robot", ("parrot", {"message": "I, robot"})),
        ("Paint a filled red shape", ("paint", {"color": "red", "isFilled": True})),
        ("Paint the shape dark blue", ("paint", {"color": "dark-blue"})),
        ("Paint it; color: red", ("paint", {"color": "red"})),
    ],
)
def test_a_request_leads_to_its_tool_with_its_arguments(question, expected):
    assert called(question) == expected


@pytest.mark.parametrize(
    "question",
    [
        "Hello, how are you?",
        "Thanks!",
        "What is the capital of Norway?",
        "Tell me something about time",
        "Add 2",
        "Paint something",
        "Delete /tmp/a.txt",
        "I was in Tokyo last year and it rained",
        "",
    ],
)
def test_without_good_reason_nothing_is_called(question):
    assert called(question) is None


def test_a_tool_that_destroys_is_never_called_not_even_by_name():
    assert called("Please use erase_file with path: /tmp/a.txt") is None


def test_a_tool_that_changes_things_is_called_only_when_its_verb_is_said():
    assert called("Is there a directory /tmp/new?", tools=(MAKE,)) is None
    assert called("Make the directory /tmp/new", tools=(MAKE,)) is not None


def test_a_post_is_no_get_but_a_get_is_always_safe():
    method = {"type": "string", "enum": ["GET", "POST"], "default": "GET"}
    web = tool("http", "Web request.", ["url"], changes=True, url=TEXT, method=method)
    assert called("What does the web page https://x.org say?", tools=(web,)) is not None
    assert called("method: POST https://x.org", tools=(web,)) is None


def test_a_deprecated_tool_gives_way_to_its_successor():
    old = tool("read_thing", "Read a file. DEPRECATED: use read_item.", ["path"], path=TEXT)
    new = tool("read_item", "Read a file.", ["path"], path=TEXT)
    assert called("Read the file /a.txt", tools=(old, new)) == ("read_item", {"path": "/a.txt"})


def test_a_missing_argument_is_named_in_the_answer():
    question = "Convert a time to another time zone"
    reply = decide_reply(ModelRequest(messages=(), tools=(SHIFT,), question=question))
    assert "shift_time may fit, but the request does not say: source_timezone" in reply.text


CSV = {"artifact": "artifact:1", "media_type": "text/csv; charset=utf-8", "size_bytes": 9}
TABLE = {
    "artifact": "artifact:2",
    "media_type": "application/x-table",
    "columns": [{"name": "region", "type": "text"}, {"name": "revenue", "type": "number"}],
}
ASK = "Statistics of the table at http://x.org/s.csv by region"


def test_data_leads_from_the_address_to_the_table_to_the_answer():
    url = {"address": "http://x.org/s.csv"}
    first = ("grab_page", url, CSV)
    second = ("table_reader", {"data": "artifact:1"}, TABLE)
    third = ("describe_table", {"table": "artifact:2", "group_by": "region"}, {"mean": 3})
    assert called(ASK) == first[:2]
    assert called(ASK, first) == second[:2]
    assert called(ASK, first, second) == third[:2]
    assert called(ASK, first, second, third) is None


def test_a_chain_ends_where_a_call_failed():
    failed = ("grab_page", {"address": "http://x.org/s.csv"}, {"error": "404"})
    assert called(ASK, failed) is None


def test_data_that_nobody_can_read_ends_the_chain():
    picture = {"artifact": "artifact:1", "media_type": "image/png"}
    assert called(ASK, ("grab_page", {"address": "http://x.org/s.csv"}, picture)) is None


def test_several_addresses_are_fetched_one_after_the_other():
    ask = "Download https://x.org/a and https://x.org/b"
    first = ("grab_page", {"address": "https://x.org/a"}, {"status": 200})
    second = ("grab_page", {"address": "https://x.org/b"}, {"status": 200})
    assert called(ask, first) == second[:2]
    assert called(ask, first, second) is None


def test_results_before_the_last_question_belong_to_an_earlier_turn():
    call = ToolCall(id="1", name="plus", arguments={"a": 2, "b": 3})
    messages = (
        ChatMessage(role="user", content="Add 2 and 3"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", tool_call_id="1", tool_name="plus", content="5"),
        ChatMessage(role="assistant", content="5"),
        ChatMessage(role="user", content="Add 2 and 3"),
    )
    reply = decide_reply(ModelRequest(messages=messages, tools=ALL, question="Add 2 and 3"))
    assert [one.name for one in reply.tool_calls] == ["plus"]


KINDS = ("string", "integer", "number", "boolean", "array", "object")
PARAMETER = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS)
        | st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True),
        "enum": st.lists(st.sampled_from(["red", "get", 1, None, "last"]), min_size=1, max_size=3),
        "format": st.sampled_from(["uri", "artifact", "date", "email", "nonsense"]),
        "default": st.sampled_from(["GET", 1, None, True]),
        "items": st.fixed_dictionaries({}, optional={"type": st.sampled_from(KINDS)}),
        "minLength": st.integers(0, 5),
        "maxItems": st.integers(0, 3),
        "minimum": st.integers(-3, 9),
        "x-media-types": st.just(["text/csv"]),
        "description": st.text(max_size=20),
    },
)
NAMES = st.sampled_from(
    [
        "url",
        "path",
        "query",
        "text",
        "timezone",
        "time",
        "count",
        "values",
        "x",
        "data",
        "id",
        "branch_name",
        "source",
        "target",
        "is_raw",
        "operation",
        "méthode",
    ]
)
TOOLS = st.lists(
    st.builds(
        lambda name, description, properties, required, flags: ToolSpec(
            name=name,
            description=description,
            parameters={
                "type": "object",
                "properties": properties,
                "required": [key for key in required if key in properties],
            },
            is_read_only=flags[0],
            is_destructive=flags[1],
        ),
        st.sampled_from(["get_page", "search", "add", "echo", "readFile", "convert_time", "plot"]),
        st.sampled_from(["", "Fetch a web page.", "Search text.", "Read a file. Deprecated."]),
        st.dictionaries(NAMES, PARAMETER, max_size=4),
        st.lists(NAMES, max_size=3, unique=True),
        st.tuples(st.booleans(), st.booleans()),
    ),
    max_size=6,
)
WORDS = st.sampled_from(
    [
        "search",
        "echo",
        "read",
        "get",
        "the",
        "page",
        "add",
        "plot",
        "convert",
        "time",
        "https://x.org/a.csv",
        "/tmp/a.txt",
        "3",
        "2.5",
        "Tokyo",
        "London",
        "3pm",
        '"quoted',
        'words"',
        "[1,2]",
        '{"query":"a"}',
        "last",
        "url:",
        "x",
        "for",
        "about",
        "red",
        "Alice",
    ]
)
QUESTIONS = st.text(max_size=60) | st.lists(WORDS, max_size=9).map(" ".join)


@given(QUESTIONS, TOOLS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_request_over_any_tools_gives_one_valid_and_repeatable_reply(question, tools):
    request = ModelRequest(messages=(), tools=tuple(tools), question=question)
    reply = decide_reply(request)
    assert reply == decide_reply(request)
    for call in reply.tool_calls:
        assert any(
            jsonschema_rs.is_valid(dict(one.parameters), dict(call.arguments))
            for one in tools
            if one.name == call.name and not one.is_destructive
        )
    assert bool(reply.text) != bool(reply.tool_calls)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["artifact", "media_type", "columns", "name", "type", "text", "error"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(QUESTIONS, JSON | st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_result_of_a_tool_is_survived(question, result):
    called(question, ("grab_page", {"address": "x"}, result))


def test_tools_whose_schemas_are_no_schemas_are_survived():
    odd = [
        {},
        {"properties": None},
        {"properties": {"a": 3, "b": True, "c": {"$ref": "#/x"}}, "required": "a"},
        {"properties": {"path": {"enum": "red", "type": 7}}, "required": ["path", 4, None]},
        {"type": "object", "x-exactly-one-of": "a"},
    ]
    for parameters in odd:
        spec = ToolSpec(name="show_file", description="Read it.", parameters=parameters)
        decide_reply(ModelRequest(messages=(), tools=(spec,), question="Show the file /a.txt"))
