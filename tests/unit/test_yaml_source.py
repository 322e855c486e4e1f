import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.documents.document import NESTING_MAX, Unreadable
from caxton_node.documents.yaml_source import YAML_CHARS_MAX, read_yaml


def refused(text):
    with pytest.raises(Unreadable) as caught:
        read_yaml(text)
    return caught.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("Off", "Off"), ("2024-01-01", "2024-01-01"), ("12:30:45", "12:30:45"),
        ("1_000", "1_000"), ("010", 10), ("0x10", "0x10"), ("1.0", 1.0), ("1e3", 1000.0),
        (".5", 0.5), ("-7", -7), ("true", True), ("FALSE", False), ("~", None), ("", None),
        ("null", None), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"), ("=", "="),
        ("<<", "<<"), (".nan", ".nan"), ("9" * 500, "9" * 500),
    ],
)  # fmt: skip
def test_scalars_hold_no_surprises(written, value):
    assert read_yaml(f"k: {written}\n").values == {"k": value}


def test_places_of_keys_and_items_are_those_of_the_text():
    text = "a: 1\nb:\n  - x\n  - c: {d: 2}\n"
    document = read_yaml(text)
    assert document.place_of(("b", 0)) == (3, 5)
    assert document.place_of(("b", 1, "c")) == (4, 5)
    assert document.place_of(("b", 1, "c", "d")) == (4, 9)


def test_aliases_share_a_value():
    assert read_yaml("a: &x [1, 2]\nb: *x\n").values["b"] == [1, 2]


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    for level in range(1, 12):
        items = ",".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{items}]")
    assert refused("\n".join(lines)).flaw.rule == "too_many_values"


def test_aliases_cannot_nest_beyond_the_limit():
    lines = ["a0: &a0 [1]"]
    lines += [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, NESTING_MAX + 2)]
    assert refused("\n".join(lines)).flaw.rule == "nested_too_deep"


def test_a_value_cannot_contain_itself():
    assert refused("a: &x [*x]\n").flaw.rule == "syntax"


def test_an_unknown_alias_is_named():
    assert "*nobody" in refused("a: *nobody\n").flaw.message


def test_a_repeated_key_is_refused_at_its_line():
    error = refused("a: 1\nb: 2\na: 3\n")
    assert (error.flaw.rule, error.line, error.column) == ("key_repeated", 3, 1)


@pytest.mark.parametrize("text", ["1: x\n", "true: x\n", "? [a]\n: x\n", "? {a: b}\n: x\n"])
def test_keys_are_text(text):
    assert refused(text).flaw.rule == "wrong_type"


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']\n",
        "a: !!timestamp 2024-01-01\n",
        "a: !mine {b: 1}\n",
        "!!set {a, b}\n",
    ],
)
def test_tags_are_refused(text):
    assert "tag" in refused(text).flaw.message


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "a: 1\n---\nb: 2\n"])
def test_anything_but_one_table_is_refused(text):
    refused(text)


def test_a_tab_is_explained():
    error = refused("a:\n\tb: 1\n")
    assert (error.line, error.flaw.fix) == (2, "Indent with spaces, not tabs")


@pytest.mark.parametrize("text", ["a: " + "[" * 5_000, "a: " + "{b: " * 5_000, "- " * 5_000])
def test_deep_nesting_is_refused_at_once(text):
    assert refused(text).flaw.rule == "nested_too_deep"


def test_too_much_yaml_is_refused():
    assert refused("a: " + "x" * YAML_CHARS_MAX).flaw.rule == "too_large"


def test_an_empty_text_is_an_empty_table():
    assert read_yaml("# nothing\n").values == {}


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=15,
)


@given(st.dictionaries(texts, trees, max_size=4))
def test_what_pyyaml_writes_reads_back(tree):
    written = yaml.safe_dump(tree, allow_unicode=True, default_style='"')
    read = read_yaml(
        written.replace('!!null "null"', "null")
        .replace('!!bool "true"', "true")
        .replace('!!bool "false"', "false")
        .replace('!!int "', '!!str "')
    ).values
    assert read == _with_texts_for_integers(tree)


def _with_texts_for_integers(value):
    match value:
        case bool():
            return value
        case int():
            return str(value)
        case dict():
            return {key: _with_texts_for_integers(item) for key, item in value.items()}
        case list():
            return [_with_texts_for_integers(item) for item in value]
        case _:
            return value
