import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.llm.offline.entities import extract


def found(text):
    return [(entity.kind, entity.value) for entity in extract(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://x.org/a?b=1.", [("url", "https://x.org/a?b=1")]),
        ("(http://x.org/wiki/A_(b))", [("url", "http://x.org/wiki/A_(b)")]),
        ("Visit www.example.com/news today", [("url", "https://www.example.com/news")]),
        ("Mail ann@example.org, please", [("email", "ann@example.org")]),
        ("use artifact:3 now", [("artifact", "artifact:3")]),
        ("read /var/log/app.log.", [("path", "/var/log/app.log")]),
        ("open notes.txt", [("path", "notes.txt")]),
        ("list ~/docs and ./src/", [("path", "~/docs"), ("path", "./src/")]),
        ("in this repository", [("path", ".")]),
        ("find **/*.py", [("glob", "**/*.py")]),
        ("on 2026-03-01 at 14:30", [("date", "2026-03-01"), ("time", "14:30")]),
        ("at 3pm", [("time", "15:00")]),
        ("at 12 a.m.", [("time", "00:00")]),
        ("at noon", [("time", "12:00")]),
        ("since 2026-03-01T10:00:00Z", [("datetime", "2026-03-01T10:00:00Z")]),
        ("in Tokyo", [("timezone", "Asia/Tokyo")]),
        ("in new york", [("timezone", "America/New_York")]),
        ("in America/Argentina/Ushuaia", [("timezone", "America/Argentina/Ushuaia")]),
        ("it est that", []),
        ("5 and -2.5 and 1,234", [("number", 5), ("number", -2.5), ("number", 1234)]),
        ("three of one", [("number", 3)]),
        ('say "two words" now', [("quoted", "two words")]),
        ("it's Ann's book", [("name", "Ann")]),
        ("run `a.b[0]` on it", [("code", "a.b[0]")]),
        ('of {"a": [1, 2]} here', [("json", {"a": [1, 2]})]),
        ("of `[1, 2]` here", [("json", [1, 2])]),
        ('```json\n{"a": 1}\n```', [("json", {"a": 1})]),
        ("```\na,b\n1,2\n```", [("csv", "a,b\n1,2")]),
        ('"say [1] now"', [("quoted", "say [1] now")]),
        ("commit 4f2a9c1d", [("revision", "4f2a9c1d")]),
        ("branch feature/login", [("identifier", "feature/login")]),
        ("client/server is fine", [("identifier", "client/server")]),
        ("SELECT a FROM t WHERE b", [("sql", "SELECT a FROM t WHERE b")]),
        ("who knows Ada Lovelace?", [("name", "Ada Lovelace")]),
        ("Hello there", []),
    ],
)
def test_what_a_request_names_is_found_by_its_form(text, expected):
    assert found(text) == expected


def test_a_table_in_the_text_is_one_thing():
    text = "Parse this:\nname,age\nAnn,31\nBen,28\nThanks, friend"
    assert ("csv", "name,age\nAnn,31\nBen,28") in found(text)


def test_digits_within_other_things_are_no_numbers():
    assert not [
        kind for kind, _ in found("http://x:80/2 on 2026-01-01 v1.2.3 a1") if kind == "number"
    ]


def test_each_thing_is_found_once():
    spans = [(entity.start, entity.end) for entity in extract("a/b.txt http://c/d.csv 'e f' 7")]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@given(st.text())
def test_any_text_is_read(text):
    for entity in extract(text):
        assert text[entity.start : entity.end] == entity.text


@pytest.mark.parametrize("char", [*list("'\"`[{(/.*@:,-a1 \n"), "a,", "a.", "a-", "a/", "*/", "é"])
def test_a_long_run_of_anything_is_read_quickly(char):
    # A slow pattern would run into the test's own timeout.
    extract(char * 20_000)
