"""Arguments are checked so that a model can mend them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools.arguments import DEPTH_MAX, PLACES_MAX, check_arguments

SCHEMA = {
    "type": "object",
    "properties": {
        "operation": {"type": "string", "enum": ["uppercase", "lowercase"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "ratio": {"type": "number"},
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "artifact": {"type": "string", "format": "artifact"},
        "is_loud": {"type": "boolean", "default": False},
        "timeout": {"type": ["string", "number"], "format": "x-seconds"},
    },
    "required": ["operation"],
    "additionalProperties": False,
}


def problems(**arguments):
    checked = check_arguments(SCHEMA, {"operation": "uppercase"} | arguments)
    return [(place.field, place.rule) for place in checked.places]


def test_arguments_that_fit_come_back_with_defaults():
    checked = check_arguments(SCHEMA, {"operation": "uppercase", "count": 3})
    assert checked.places == ()
    assert checked.values == {"operation": "uppercase", "count": 3, "is_loud": False}


def test_a_whole_float_becomes_an_integer_where_one_is_asked_for():
    checked = check_arguments(SCHEMA, {"operation": "uppercase", "count": 3.0})
    assert repr(checked.values["count"]) == "3"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"operation": "upercase"}, ("operation", "enum")),
        ({"count": True}, ("count", "type")),
        ({"count": 2.5}, ("count", "type")),
        ({"count": 0}, ("count", "minimum")),
        ({"count": 10}, ("count", "maximum")),
        ({"ratio": float("nan")}, ("ratio", "type")),
        ({"ratio": float("inf")}, ("ratio", "type")),
        ({"ratio": "1"}, ("ratio", "type")),
        ({"name": ""}, ("name", "minLength")),
        ({"name": "abcdef"}, ("name", "maxLength")),
        ({"name": None}, ("name", "type")),
        ({"tags": []}, ("tags", "minItems")),
        ({"tags": ["a", "b", "c"]}, ("tags", "maxItems")),
        ({"tags": ["a", 1]}, ("tags[1]", "type")),
        ({"artifact": "artifact:0"}, ("artifact", "format")),
        ({"artifact": "sales.csv"}, ("artifact", "format")),
        ({"is_loud": 1}, ("is_loud", "type")),
        ({"timeout": "soon"}, ("timeout", "format")),
        ({"nmae": "x"}, ("nmae", "unknown_key")),
    ],
)
def test_each_rule_names_the_field_it_found_broken(arguments, expected):
    assert problems(**arguments) == [expected]


def test_a_missing_argument_is_named():
    (place,) = check_arguments(SCHEMA, {}).places
    assert (place.field, place.message) == ("operation", "`operation` is missing.")


def test_a_near_choice_and_a_near_name_are_offered():
    places = check_arguments(SCHEMA, {"operation": "upercase", "cuont": 1}).places
    assert [place.fix for place in places] == ["Did you mean 'uppercase'?", "Did you mean `count`?"]


@pytest.mark.parametrize(("given", "count"), [({}, 1), ({"a": 1}, 0), ({"a": 1, "b": 2}, 1)])
def test_exactly_one_of_several_must_be_given(given, count):
    schema = {"type": "object", "x-exactly-one-of": ["a", "b"]}
    assert len(check_arguments(schema, given).places) == count


def test_what_is_no_object_is_refused():
    (place,) = check_arguments(SCHEMA, ["uppercase"]).places
    assert place.rule == "type"


def test_mistakes_beyond_the_limit_are_not_listed():
    many = {f"unknown_{number}": 1 for number in range(100)}
    assert len(check_arguments(SCHEMA, many).places) == PLACES_MAX


def test_nesting_beyond_the_limit_is_refused_before_recursion_ends():
    schema: dict = {"type": "array"}
    schema["items"] = schema
    value: list = []
    for _ in range(5_000):
        value = [value]
    checked = check_arguments({"type": "object", "properties": {"deep": schema}}, {"deep": value})
    assert [place.rule for place in checked.places] == ["depth"]
    assert DEPTH_MAX < 5_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(
    json_values
    | st.fixed_dictionaries({}, optional=dict.fromkeys(SCHEMA["properties"], json_values))
)
def test_no_arguments_make_the_checker_raise(value):
    checked = check_arguments(SCHEMA, value)
    assert all(place.message and place.rule for place in checked.places)
    assert isinstance(checked.values, dict)


finite_values = st.recursive(
    st.none() | st.booleans() | st.integers(-12, 12) | st.floats(-9, 9) | st.text(max_size=7),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
STANDARD = SCHEMA | {
    "properties": {
        name: rules for name, rules in SCHEMA["properties"].items() if "format" not in rules
    }
}


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*STANDARD["properties"], "x"], finite_values))
)
def test_the_verdict_is_that_of_a_full_validator(arguments):
    validator = pytest.importorskip("jsonschema_rs").Draft202012Validator(STANDARD)
    assert (not check_arguments(STANDARD, arguments).places) == validator.is_valid(arguments)
