import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.llm.offline.schema import fits


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, "x", True),
        ({"type": "string"}, 1, False),
        ({"type": ["string", "null"]}, None, True),
        ({"type": "integer"}, 2.0, True),
        ({"type": "integer"}, True, False),
        ({"enum": ["a", 1]}, 1, True),
        ({"enum": ["a", 1]}, True, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "x", True),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1, False),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 4, False),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 2], True),
        ({"type": "array", "uniqueItems": True}, [1, 1], False),
        ({"pattern": "^a+$"}, "aa", True),
        ({"pattern": "^a+$"}, "ab", False),
        ({"pattern": "(a+)+$"}, "aa", False),
        ({"not": {"type": "string"}}, 1, False),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "x", True),
        ({"$ref": "#/nowhere"}, "x", False),
        ({"$ref": "#"}, "x", False),
        ({"x-exactly-one-of": ["a", "b"]}, {"a": 1}, True),
        ({"x-exactly-one-of": ["a", "b"]}, {"a": 1, "b": 2}, False),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"b": 1}, False),
        ({"multipleOf": 3}, 9, True),
        ({"multipleOf": 3}, 10, False),
        (False, 1, False),
        (True, 1, True),
    ],
)
def test_what_certainly_fits_fits_and_nothing_else(schema, value, expected):
    assert fits(value, schema, schema if isinstance(schema, dict) else {}) is expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "boolean", "object", "array"]),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "minimum": st.integers(-5, 5),
            "exclusiveMaximum": st.integers(-5, 5),
            "maxLength": st.integers(0, 3),
            "minItems": st.integers(0, 2),
            "pattern": st.sampled_from(["a", "^b*$"]),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "multipleOf": st.integers(1, 3),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "items": inner,
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "additionalProperties": st.booleans() | inner,
            "not": inner,
            "uniqueItems": st.booleans(),
        },
    ),
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_what_it_lets_pass_a_real_validator_lets_pass_too(schema, value):
    if fits(value, schema, schema):
        assert jsonschema_rs.is_valid(schema, value)
