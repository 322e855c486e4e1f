import pytest

from caxton_node.llm.offline.reading import read
from caxton_node.llm.offline.stemming import stem
from caxton_node.llm.offline.words import stems, terms


@pytest.mark.parametrize(
    "forms",
    [
        ("commit", "commits", "committed", "committing"),
        ("file", "files", "filed"),
        ("directory", "directories"),
        ("stage", "staged", "staging"),
        ("analyze", "analyzed", "analyzing"),
    ],
)
def test_forms_of_a_word_share_a_stem(forms):
    assert len({stem(form) for form in forms}) == 1


def test_names_of_tools_fall_apart_into_words():
    assert stems("readTextFile git_log HTTPClient") == stems("read text file git log http client")


def test_verbs_of_one_meaning_share_a_concept():
    assert "~fetch" in terms("download")
    assert "~fetch" in terms("retrieve")


def test_what_is_not_staged_is_unstaged():
    assert stem("unstaged") in terms("changes that are not yet staged")


@pytest.mark.parametrize(
    "text",
    [
        "Hello!",
        "Thanks, great job",
        "How are you today?",
        "Who are you?",
        "What can you do?",
        "Tell me a joke",
        "What is the capital of France?",
        "Why is the sky blue?",
        "How do I delete a file?",
        "",
    ],
)
def test_small_talk_and_questions_about_the_world_are_no_requests(text):
    assert read(text).is_small_talk


@pytest.mark.parametrize(
    "text",
    [
        "What time is it in Tokyo?",
        "What is the sum of 2 and 3?",
        "Show me the knowledge graph",
        "How many rows are in the table?",
        "What is in /tmp/a.txt?",
    ],
)
def test_requests_are_no_small_talk(text):
    assert not read(text).is_small_talk


def test_what_must_not_be_done_is_not_asked_for():
    reading = read("List the files but don't delete anything, please")
    assert "delet" not in reading.content
    assert "list" in reading.verbs


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("Please create a branch", {"creat"}),
        ("Fetch it and then draw a chart", {"fetch", "draw"}),
        ("Could you send a message? Then stop.", {"send", "stop"}),
    ],
)
def test_a_clause_asks_for_its_first_verb(text, verbs):
    assert verbs <= read(text).verbs


@pytest.mark.parametrize("text", ["", "  \n", "?!?", "…", "🙂"])
def test_text_without_a_word_is_unreadable(text):
    assert read(text).is_unreadable
