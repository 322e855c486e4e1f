"""What rules conclude from what was said, and what is kept out."""

import pytest

from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import Performative
from caxton_node.llm.estimate import estimate_tokens
from caxton_node.memory.exclusion import Exclusion
from caxton_node.memory.extract import facts_in
from caxton_node.memory.knowledge import assemble
from caxton_node.memory.records import (
    Hit,
    Interval,
    Observation,
    Reasons,
    Scope,
    Source,
)
from caxton_node.memory.wording import digest_of, match_expression, shelved, terms_of
from caxton_node.runtime.agent import Reply
from caxton_node.runtime.consolidation import conclusions_of, read_conclusions
from caxton_node.runtime.remembering import lessons


def read(text):
    return [
        (one.entity, one.kind.value, one.attribute, one.text)
        for one in facts_in(text, speaker="ada", source=Source())
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("My name is Ada.", [("ada", "fact", "name", "ada: My name is Ada")]),
        ("my favourite colour is teal", [("ada", "fact", "favourite colour",
                                          "ada: my favourite colour is teal")]),
        ("I live in Oslo. I moved to Rome!", [
            ("ada", "fact", "home", "ada: I live in Oslo"),
            ("ada", "fact", "home", "ada: I moved to Rome"),
        ]),
        ("I prefer tea", [("ada", "preference", "", "ada: I prefer tea")]),
        ("The office is in Rome.", [("office", "fact", "place", "The office is in Rome")]),
        ("The deploy script needs v1.2 of the tool.",
         [("deploy script", "fact", "", "The deploy script needs v1.2 of the tool")]),
        ("Please remember that the door sticks", [("ada", "note", "", "the door sticks")]),
        ("Remember that my dog is Rex", [("ada", "fact", "dog", "ada: my dog is Rex")]),
        ("What is my name?", []),
        ("Is the office in Rome?", []),
        ("Tell me where the office is", []),
        ("It is late.", []),
        ("hm", []),
        ("", []),
    ],
)  # fmt: skip
def test_statements_become_facts_and_nothing_else_does(text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "my password is hunter2",
        "the API key is x",
        "use sk-abcdefghijklmnopqrstuv",
        "card 4111 1111 1111 1111",
        "-----BEGIN RSA PRIVATE KEY-----",
        "the Secret is out",
    ],
)
def test_what_looks_like_a_secret_is_excluded(text):
    assert Exclusion().matches("fine", text)


@pytest.mark.parametrize("text", ["order 66", "call me at 9", "tokens of affection", "2026-11-21"])
def test_what_does_not_is_not(text):
    assert not Exclusion().matches(text)


def test_a_broken_pattern_is_named():
    with pytest.raises(ValueError, match="no regular expression"):
        Exclusion(["("])


@pytest.mark.parametrize("other", ["the sky is blue", " The  SKY is blue. ", "the sky is blue!"])
def test_texts_that_say_the_same_have_one_digest(other):
    assert digest_of("The sky is blue") == digest_of(other)


def test_words_of_a_question_cannot_become_operators():
    assert terms_of('what is "NEAR" OR* x:y') == ("near", "x", "y")
    assert match_expression(("a", "b"), (3, 4)) == '"s3qa" OR "s4qa" OR "s3qb" OR "s4qb"'


def test_words_in_the_index_carry_their_scope_and_neither_case_nor_accents():
    assert shelved(7, "Él's naïve_x ＡＢＣ s8qfoo") == "s7qel s7qs s7qnaive s7qx s7qabc s7qs8qfoo"


def observation(text, *, number=1, entity="thing", **more) -> Observation:
    return Observation(
        **{
            "id": number, "scope": Scope("global"), "entity_id": 1, "entity": entity,
            "type": "thing", "kind": "fact", "attribute": "", "text": text, "context": "",
            "confidence": 1.0, "strength": 1.0, "created_at": 0, "valid": Interval(start=0),
            "expires_at": None, "is_pinned": False, "use_count": 0, "used_at": 0,
            "source": Source(agent="bot"),
        }
        | more
    )  # fmt: skip


def hits(*texts):
    return [Hit(observation(t, number=n), 1.0, Reasons()) for n, t in enumerate(texts, start=1)]


def test_knowledge_stays_within_its_budget_and_counts_what_had_no_room():
    found = assemble(
        hits("short", "long " * 100, "brief", "short"),
        budget_tokens=30,
        count_tokens=estimate_tokens,
    )
    assert found.texts == ("short", "brief")
    assert found.left_out == 1
    assert found.tokens == sum(map(estimate_tokens, found.lines)) <= 30
    assert found.text.splitlines()[0] == "- short (about thing, since 1970-01-01)"


def message(text):
    return Message(
        id="m1", performative=Performative.REQUEST, sender="ada", content=encode_content(text),
        conversation_id="c1", created_at=1,
    )  # fmt: skip


def test_of_a_question_answered_without_a_model_nothing_is_kept():
    reply = Reply("You told me …", None, {"offline": True})
    assert lessons("bot", message("What is my name?"), reply, "") == []


def test_an_exchange_with_a_model_is_kept_with_what_was_said_before():
    kept = lessons("bot", message("What is a monad?"), Reply("A burrito."), "we spoke of Haskell")
    (episode,) = kept
    assert episode.text == "ada: What is a monad?\nbot: A burrito."
    assert episode.context == "we spoke of Haskell"
    assert episode.source == Source(agent="bot", conversation_id="c1", message_id="m1")


def test_a_problem_and_its_answer_are_kept_as_a_solution():
    kept = lessons("bot", message("The build failed with E42"), Reply("Clear the cache."), "")
    assert "solution" in [one.kind for one in kept]


def test_rules_draw_conclusions_from_what_was_asked_not_from_what_was_answered():
    text = "ada: My dog is Rex. I like tea.\nbot: My cat is Tom."
    facts = conclusions_of([observation(text, kind="episode")])
    assert [one.text for one in facts] == ["ada: My dog is Rex", "ada: I like tea"]


def test_a_models_conclusions_are_read_field_by_field():
    facts, relations = read_conclusions(
        'Sure:\n```json\n{"facts": [{"entity": "Ada", "type": "Person", "text": "Ada  lives in '
        'Oslo", "kind": "FACT", "attribute": "Home"}, {"entity": "", "text": "x"}, 7, '
        '{"entity": "b", "text": "y", "kind": "rumour"}], "relations": [{"from": "Ada", "to": '
        '"Acme", "type": "works_at", "strength": 9}, {"from": "x"}, null]}\n```',
        Source(model="m"),
    )
    assert [(f.entity, f.type, f.text, f.kind, f.attribute) for f in facts] == [
        ("Ada", "person", "Ada lives in Oslo", "fact", "home"),
        ("b", "thing", "y", "fact", ""),
    ]
    assert [(r.source_entity, r.target_entity, r.strength) for r in relations] == [
        ("Ada", "Acme", 1.0)
    ]


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"facts": 3}', "{", "```json\n```"])
def test_no_answer_of_a_model_breaks_the_reading(text):
    read = read_conclusions(text, Source())
    assert read is None or read == ([], [])
