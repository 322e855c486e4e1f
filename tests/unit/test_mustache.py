"""Templates without logic: what they yield, what is refused, and that nothing costs more than it
should.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools import mustache
from caxton_node.tools.mustache import TemplateError, parse_template, render_template


def fill(template, values=None, **how):
    return render_template(parse_template(template), values or {}, **how)


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("Dear {{name}},", {"name": "Ada"}, "Dear Ada,"),
        ("{{ name }}{{name}}", {"name": "x"}, "xx"),
        ("{{a.b.c}}", {"a": {"b": {"c": 1}}}, "1"),
        ("{{n}} {{t}} {{x}} {{l}}", {"n": 2.5, "t": True, "x": None, "l": [1]}, "2.5 true  [1]"),
        ("{{#items}}<{{n}}>{{/items}}", {"items": [{"n": 1}, {"n": 2}]}, "<1><2>"),
        ("{{#items}}{{.}},{{/items}}", {"items": ["a", "b"]}, "a,b,"),
        ("{{^items}}none{{/items}}", {"items": []}, "none"),
        ("{{^items}}none{{/items}}", {"items": [1]}, ""),
        ("{{#is_new}}new{{/is_new}}", {"is_new": False}, ""),
        ("{{#count}}{{.}}{{/count}}", {"count": 0}, "0"),
        ("{{#absent}}x{{/absent}}{{^absent}}y{{/absent}}", {}, "y"),
        ("{{#who}}{{name}} of {{city}}{{/who}}", {"who": {"name": "A"}, "city": "B"}, "A of B"),
        ("a{{! a remark }}b", {}, "ab"),
        ("{ {{x}} } {{=", {"x": 1}, None),
        ("{not} }} a {x}", {}, "{not} }} a {x}"),
    ],
)
def test_a_template_is_filled(template, values, expected):
    if expected is None:
        with pytest.raises(TemplateError):
            fill(template, values)
    else:
        assert fill(template, values) == expected


def test_a_line_of_a_tag_alone_leaves_nothing_behind():
    template = (
        "List:\n  {{#items}}\n- {{.}}\n  {{/items}}\n{{! done }}\nEnd {{#items}}!{{/items}}\n"
    )
    assert fill(template, {"items": [1, 2]}) == "List:\n- 1\n- 2\nEnd !!\n"


def test_lines_may_end_as_on_windows():
    assert fill("{{#a}}\r\nx\r\n{{/a}}\r\n", {"a": True}) == "x\r\n"


def test_values_are_made_harmless_for_a_page_unless_three_braces_ask_for_them_raw():
    values = {"x": "<b>&\"'"}
    assert fill("{{x}} {{{x}}} {{&x}}", values, escape="html") == (
        "&lt;b&gt;&amp;&quot;&#x27; <b>&\"' <b>&\"'"
    )


def test_a_value_is_never_read_as_a_template():
    assert fill("{{x}}", {"x": "{{y}}", "y": "secret"}) == "{{y}}"


def test_names_without_a_value_are_told_with_their_lines_and_what_comes_near():
    with pytest.raises(TemplateError) as caught:
        fill("{{name}}\n{{nmae}} {{a.b}}", {"name": "x", "a": {}})
    assert str(caught.value) == (
        "These names have no value: nmae (line 2; did you mean name?), a.b (line 2)."
    )


def test_names_without_a_value_may_yield_nothing():
    assert fill("<{{x}}>", is_strict=False) == "<>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a\n{{x", "Line 2: {{ without }}"),
        ("{{{x}}", "Line 1: {{ without }}}"),
        ("{{#a}}\n\n", "Line 1: {{/a}} is missing"),
        ("{{/a}}", "Line 1: {{/a}} closes what was not opened"),
        ("{{#a}}\n{{/b}}", "Line 2: {{/b}} stands where {{/a}} is due"),
        ("{{a b}}", "Line 1: 'a b' is no name"),
        ("{{}}", "Line 1: '' is no name"),
        ("{{> other}}", "Line 1: other templates cannot be drawn in"),
        ("{{=<% %>=}}", "Line 1: the braces cannot be changed"),
        ("{{#a}}" * 17 + "{{/a}}" * 17, "Line 1: more than 16 sections"),
        ("{{!" + "x" * 2_000 + "}}", "Line 1: more than 1000 characters"),
    ],
)
def test_a_template_that_cannot_be_read_says_where_and_why(template, expected):
    with pytest.raises(TemplateError) as caught:
        parse_template(template)
    assert str(caught.value).startswith(expected)


def test_a_result_may_not_grow_without_bounds(monkeypatch):
    monkeypatch.setattr(mustache, "LENGTH_MAX", 100)
    with pytest.raises(TemplateError, match="longer than 100"):
        fill("{{#a}}{{#a}}{{#a}}x{{/a}}{{/a}}{{/a}}", {"a": [1] * 10})


def test_sections_that_yield_nothing_may_not_go_on_without_bounds(monkeypatch):
    monkeypatch.setattr(mustache, "STEPS_MAX", 100)
    with pytest.raises(TemplateError, match="more than 100 steps"):
        fill("{{#a}}{{#a}}{{#a}}{{/a}}{{/a}}{{/a}}", {"a": [1] * 10})


@given(st.text(alphabet="{}#^/!& ab.\n", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        template = parse_template(text)
    except TemplateError:
        return
    render_template(template, {"a": [{"b": 1}, {"b": 2}], "b": "x"}, is_strict=False)


@given(st.text(max_size=60).filter(lambda text: "{{" not in text))
def test_a_text_without_places_stays_as_it_is(text):
    assert fill(text) == text
