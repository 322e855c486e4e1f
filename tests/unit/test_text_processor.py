"""Plain operations on text, each in linear time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.tools import text as texts
from caxton_node.tools.builtin.text_processor import TextProcessor
from tests.tool_bench import call, tool_context

OPERATIONS = TextProcessor.spec.parameters["properties"]["operation"]["enum"]


async def process(tmp_path, operation, text, **more):
    context = await tool_context(tmp_path)
    return await call(TextProcessor(), context, operation=operation, text=text, **more)


@pytest.mark.parametrize(
    ("operation", "text", "expected"),
    [
        ("uppercase", "Straße", "STRASSE"),
        ("lowercase", "ABC", "abc"),
        ("title", "the end", "The End"),
        ("reverse", "abc", "cba"),
        ("trim", "  a  \n  b  \n", "a\nb"),
    ],
)
async def test_a_text_is_changed(tmp_path, operation, text, expected):
    assert (await process(tmp_path, operation, text)).content["text"] == expected


@pytest.mark.parametrize(
    ("operation", "count"), [("word_count", 5), ("line_count", 2), ("character_count", 25)]
)
async def test_a_text_is_counted(tmp_path, operation, count):
    result = await process(tmp_path, operation, "It's a dog's\nlife, indeed")
    assert result.content["count"] == count


@pytest.mark.parametrize(
    ("operation", "text", "found"),
    [
        ("extract_emails", "a.b+c@x-y.org, a.b+c@x-y.org; @no, no@, x@y", ["a.b+c@x-y.org"]),
        ("extract_urls", "see (https://a.b/c?d=1), http://e.", ["https://a.b/c?d=1", "http://e"]),
        ("extract_numbers", "1,234.5 and -7, v2 3.0e2 10,20", [1234.5, -7, 300.0, 10, 20]),
        ("extract_emails", "nothing", []),
    ],
)
async def test_things_are_extracted(tmp_path, operation, text, found):
    result = await process(tmp_path, operation, text)
    assert (result.content["found"], result.content["count"]) == (found, len(found))


async def test_finding_takes_the_search_literally(tmp_path):
    result = await process(tmp_path, "find", "a.b\nxaxb a.b", search="a.b")
    assert result.content["count"] == 2
    assert [match["offset"] for match in result.content["matches"]] == [0, 9]


async def test_finding_may_ignore_case(tmp_path):
    result = await process(tmp_path, "find", "Total TOTAL", search="total", ignore_case=True)
    assert result.content["count"] == 2


async def test_replacing_counts_what_it_replaced(tmp_path):
    result = await process(tmp_path, "replace", "a.a.a", search=".", replacement="-")
    assert (result.content["text"], result.content["count"]) == ("a-a-a", 2)


async def test_a_replacement_that_grows_without_measure_is_refused(tmp_path):
    result = await process(tmp_path, "replace", "a" * 10_000, search="a", replacement="b" * 9_000)
    assert result.is_error


@pytest.mark.parametrize("operation", ["find", "replace"])
async def test_looking_for_nothing_is_a_mistake(tmp_path, operation):
    assert (await process(tmp_path, operation, "a")).is_error


async def test_a_summary_is_made_of_the_texts_own_sentences_and_says_so(tmp_path):
    text = "Sales rose in May. The weather was fine. Sales in May were led by the north. Bye."
    result = await process(tmp_path, "summarize", text, sentences=2)
    assert result.content["text"] == "Sales rose in May. Sales in May were led by the north."
    assert "extractive" in result.content["method"]


async def test_frequent_words_come_first(tmp_path):
    result = await process(tmp_path, "frequency", "The cat and the dog and the cat 42")
    assert result.content["words"] == [{"word": "cat", "count": 2}, {"word": "dog", "count": 1}]


async def test_a_long_result_is_kept(tmp_path):
    result = await process(tmp_path, "uppercase", "word " * 1_000)
    assert (result.content["artifact"], result.content["media_type"]) == (
        "artifact:1",
        "text/plain",
    )
    assert "text" not in result.content


async def test_a_text_is_read_from_a_handle(tmp_path):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="a.txt", media_type="text/plain", data="é".encode("latin-1"))
    result = await call(
        TextProcessor(), context, operation="character_count", artifact="artifact:1"
    )
    assert result.content["count"] == 1


async def test_a_picture_is_no_text(tmp_path):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="a.png", media_type="image/png", data=b"x")
    result = await call(TextProcessor(), context, operation="word_count", artifact="artifact:1")
    assert result.is_error


@pytest.mark.parametrize(
    "unit", ["a", "1", "1,", "a@", "a.", "http://", "-", ".", "\n", " .", "'a"]
)
@pytest.mark.parametrize(
    "operation",
    [
        texts.extract_emails,
        texts.extract_urls,
        texts.extract_numbers,
        lambda t: texts.summarize(t, 3),
    ],
)
def test_no_repetition_makes_a_pattern_slow(operation, unit):
    # A pattern that backtracked over it would run into the suite's own time limit.
    operation(unit * 200_000)


@given(st.text(max_size=60))
def test_numbers_are_finite(text):
    assert all(abs(number) != float("inf") for number in texts.extract_numbers(text))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("text", ["", " ", "\u2028", "\x00", "İ\u0301"])
async def test_every_operation_takes_any_text(tmp_path, operation, text):
    result = await process(tmp_path, operation, text, search="i", replacement="j")
    assert not result.is_error
