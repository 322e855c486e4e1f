"""What a capability answers to, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.capability import CAPABILITY_LENGTH_MAX, Capability, parse_capability

WORD = st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,3}){0,2}", fullmatch=True)
NAME = st.lists(WORD, min_size=1, max_size=4).map(".".join)
VERSION = st.none() | st.from_regex(r"v[0-9]{1,2}(\.[0-9]{1,2}){0,2}", fullmatch=True)
CAPABILITY = st.builds(Capability, NAME, VERSION)


@given(CAPABILITY)
def test_a_capability_is_read_back_from_its_text(capability):
    assert parse_capability(str(capability)) == capability


@given(st.text())
def test_any_text_is_a_capability_that_spells_it_or_none(text):
    capability = parse_capability(text)
    assert capability is None or str(capability) == text


@given(CAPABILITY)
def test_a_capability_answers_to_itself_first(capability):
    assert next(capability.answers_to()) == str(capability)


@given(CAPABILITY)
def test_no_request_is_answered_twice(capability):
    spellings = list(capability.answers_to())
    assert len(spellings) == len(set(spellings))


@given(CAPABILITY)
def test_whoever_asks_for_the_general_also_gets_the_particular(capability):
    answered = set(capability.answers_to())
    for spelling in answered:
        asked = parse_capability(spelling)
        assert set(asked.answers_to()) <= answered


@given(CAPABILITY)
def test_whoever_asks_for_another_version_does_not_get_it(capability):
    other = Capability(capability.name, "v100")
    assert str(other) not in set(capability.answers_to())


def test_the_nearest_spelling_comes_first():
    capability = Capability("data-analysis.visual", "v2")
    assert list(capability.answers_to()) == [
        "data-analysis.visual:v2",
        "data-analysis.visual",
        "data-analysis:v2",
        "data-analysis",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "Data", "data_analysis", "data analysis", "data\n", "1data"),
        *("data..visual", ".data", "data.", "-data", "data-"),
        *("data:", "data:2", "data:v", "data:v1.", "data:v1:v2"),
    ],
)
def test_what_breaks_the_rule_is_no_capability(text):
    assert parse_capability(text) is None


def test_a_capability_has_a_greatest_length():
    assert parse_capability("a" * CAPABILITY_LENGTH_MAX) is not None
    assert parse_capability("a" * (CAPABILITY_LENGTH_MAX + 1)) is None
