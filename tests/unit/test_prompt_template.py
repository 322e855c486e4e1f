import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.agentfile.template import placeholder_names, render, template_flaws

KNOWN = {"message", "name", "style"}


def rules(template):
    return [flaw.rule for flaw in template_flaws(template, KNOWN)]


def test_placeholders_are_replaced():
    assert render("{{ a }}-{{b}}{{a}}", {"a": "1", "b": "2"}) == "1-21"


def test_what_was_put_in_is_never_looked_at_again():
    assert render("{{a}}{{b}}", {"a": "{{b}}", "b": "{{a}}"}) == "{{b}}{{a}}"


def test_a_placeholder_split_over_two_values_stays_text():
    assert render("{{a}}{{b}}", {"a": "{{", "b": "a}}"}) == "{{a}}"


def test_a_missing_value_is_empty():
    assert render("[{{conversation_history}}]", {}) == "[]"


def test_values_that_are_no_text_go_in_as_json():
    assert render("{{a}} {{b}}", {"a": [1, "é"], "b": True}) == '[1,"é"] true'


def test_escaped_braces_are_literal():
    assert render(r"\{{a}} {{a}}", {"a": "1"}) == "{{a}} 1"


@pytest.mark.parametrize(
    "template",
    ["", "plain", '{"a": {"b": {"c": 1}}}', "}} {", r"\{{anything at all", '{"result": {value}}',
     "{{message}}{{ name }}", "{", "a } b }} c"],
)  # fmt: skip
def test_text_with_braces_is_no_mistake(template):
    assert rules(template) == []


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{nobody}}", "unknown_placeholder"),
        ("{{message", "unbalanced_placeholder"),
        ("{{message}", "unbalanced_placeholder"),
        ("{message}}", "unbalanced_placeholder"),
        ("{{\nmessage}}", "unbalanced_placeholder"),
        ("{{#if x}}", "malformed_placeholder"),
        ("{{a.b}}", "malformed_placeholder"),
        ("{{NAME:default}}", "malformed_placeholder"),
        ("{{}}", "malformed_placeholder"),
        ("{{ 7 * 7 }}", "malformed_placeholder"),
    ],
)
def test_a_wrong_placeholder_breaks_its_rule(template, rule):
    assert rules(template) == [rule]


def test_a_repeated_mistake_is_told_once():
    assert rules("{{x}} {{x}} {{y}}") == ["unknown_placeholder"] * 2


def test_names_come_in_order():
    assert list(placeholder_names(r"{{b}} \{{c}} {{a}} {{b}}")) == ["b", "a", "b"]


@given(st.text(alphabet="ab{}\\ \n#:", max_size=60))
def test_a_template_without_flaws_is_left_without_open_braces(template):
    if not rules(template.replace("a", "message")):
        filled = render(template.replace("a", "message"), {"message": "!"})
        assert filled.count("{{") <= template.count("\\{{")


@given(st.text(), st.text())
def test_rendering_any_value_changes_nothing_but_the_placeholder(before, value):
    before = before.replace("{", "").replace("}", "").replace("\\", "")
    assert render(f"{before}{{{{v}}}}{before}", {"v": value}) == before + value + before
