"""The parts of a memory in an engine outside: calls, ids, words, and the choice of one."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.errors import Bug, Unavailable
from caxton_node.memory.finding import Filters
from caxton_node.memory.moving.book import BOOK_FILE, Move, MoveBook, Pair
from caxton_node.memory.moving.live import chosen_backend
from caxton_node.memory.records import GLOBAL, Access, Scope
from caxton_node.memory.shared.calls import Calls, Fault
from caxton_node.memory.shared.identity import entity_id, fact_id, relation_id, talk_id
from caxton_node.memory.shared.shelf import AnyOf, is_impossible
from caxton_node.memory.shared.terms import query_vector, stem, text_vector
from caxton_node.memory.shared.values import marks_of, read_scope, wanted


class Hiccup(Exception):
    """What an engine's library raises."""


def calls_of(*outcomes):
    """Calls to an engine that answers or raises as told, and how often it was asked."""
    left, asked = list(outcomes), []

    async def engine():
        asked.append(1)
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def read(error):
        if isinstance(error, Hiccup):
            return Fault(str(error), is_transient=str(error) == "soon")
        return None

    return Calls("Engine at home", timeout_s=5.0, read=read), engine, asked


async def test_what_passes_is_tried_again_and_told_to_nobody():
    calls, engine, asked = calls_of(Hiccup("soon"), Hiccup("soon"), "answer")
    assert await calls.make(engine) == "answer"
    assert (len(asked), calls.trouble) == (3, None)


async def test_what_does_not_pass_is_tried_once_and_then_refused_at_once():
    calls, engine, asked = calls_of(Hiccup("never"), "answer")
    for _ in range(5):
        with pytest.raises(Unavailable, match="Engine at home: never"):
            await calls.make(engine)
    assert len(asked) == 1
    assert "Engine at home" in calls.trouble


async def test_three_attempts_are_all():
    calls, engine, asked = calls_of(*[Hiccup("soon")] * 9)
    with pytest.raises(Unavailable):
        await calls.make(engine)
    assert len(asked) == 3


async def test_what_nobody_expected_is_our_bug_and_no_reason_to_refuse_the_next():
    calls, engine, asked = calls_of(KeyError("x"), "answer")
    with pytest.raises(Bug):
        await calls.make(engine)
    assert await calls.make(engine) == "answer"
    assert len(asked) == 2


SCOPES = st.sampled_from(["global", "workspace/default", "agent/default/Ada", "agent/default/Bob"])


@given(scope=SCOPES, name=st.text(max_size=20), probe=st.integers(0, 9))
def test_ids_are_the_same_everywhere_and_survive_json(scope, name, probe):
    entity = entity_id(scope, name)
    ids = [
        entity,
        fact_id(entity, "00ff", probe),
        relation_id(entity, entity, "is", "open"),
        talk_id(scope, name),
    ]
    assert ids[0] == entity_id(scope, name)
    assert all(0 < one < 2**53 for one in ids)
    assert len(set(ids)) == len(ids)


def test_a_name_has_another_id_in_another_scope():
    assert len({entity_id(str(scope), "x") for scope in (GLOBAL, Scope("workspace", "x"))}) == 2


@pytest.mark.parametrize("scope", [GLOBAL, Scope("workspace", "a"), Scope("agent", "a", "Ada")])
def test_a_scope_is_read_as_it_was_written(scope):
    assert read_scope(str(scope)) == scope


@pytest.mark.parametrize(
    ("word", "root"),
    [("printers", "printer"), ("cities", "city"), ("trees", "tree"), ("glass", "glass"),
     ("bus", "bus"), ("is", "is"), ("colours", "colour")],
)  # fmt: skip
def test_plurals_are_cut_and_nothing_else(word, root):
    assert stem(word) == root


@given(st.text(max_size=200), st.text(max_size=50))
def test_a_question_meets_the_words_of_a_text(text, subject):
    numbers, weights = text_vector(subject, text, "")
    asked, _ = query_vector([text])
    assert set(asked) <= set(numbers)
    assert numbers == sorted(set(numbers))
    assert all(weight > 0 for weight in weights)


def test_no_scope_finds_nothing_and_asks_nobody():
    assert is_impossible(wanted(Access.only(), Filters(), 1))
    assert not is_impossible(wanted(Access.only(GLOBAL), Filters(), 1))


def test_scopes_stand_in_every_question():
    (scope, *_) = wanted(Access.only(GLOBAL), Filters(is_historic=True), 1)
    assert scope == AnyOf("scope", ("global",))


def test_equal_numbers_are_equal_marks():
    assert marks_of({"a": 3, "b": "x", "c": [1]}) == marks_of({"a": 3.0, "b": "x"})


# The book of a move.


def moved(folder, **state):
    book = MoveBook(folder / BOOK_FILE)
    book.begin(Move(source="sqlite", target="qdrant", **state))
    book.close()


def test_a_memory_that_never_moved_is_where_the_settings_say(tmp_path):
    assert chosen_backend("sqlite", tmp_path) == ("sqlite", None)


@pytest.mark.parametrize(
    ("state", "configured", "chosen"),
    [
        ({"is_live": True, "phase": "copying"}, "sqlite", "sqlite"),
        ({"is_live": True, "phase": "switched"}, "sqlite", "sqlite"),
        ({"is_live": True, "phase": "switched"}, "qdrant", "sqlite"),
        ({"is_live": False, "phase": "copying"}, "sqlite", "sqlite"),
        ({"is_live": True, "phase": "finished"}, "sqlite", "qdrant"),
        ({"is_live": True, "phase": "finished"}, "qdrant", "qdrant"),
        ({"is_live": True, "phase": "rolled_back"}, "sqlite", "sqlite"),
        ({"is_live": True, "phase": "finished"}, "neo4j", "neo4j"),
    ],
)
def test_a_memory_is_opened_where_it_was_moved_to(tmp_path, state, configured, chosen):
    moved(tmp_path, **state)
    name, move = chosen_backend(configured, tmp_path)
    assert name == chosen
    is_under_way = state["is_live"] and state["phase"] in ("copying", "switched")
    assert (move is not None and move.is_open) is is_under_way


async def test_pairs_are_found_from_both_sides(tmp_path):
    book = MoveBook(tmp_path / BOOK_FILE)
    move = book.begin(Move(source="a", target="b", is_live=True))
    await book.note(move, pairs=[Pair(1, 10), Pair(2, 20), Pair(3, 30)])
    await book.note(move, gone=[Pair(2, 20)])
    assert await book.twins([1, 2, 3], side="old") == {1: 10, 3: 30}
    assert await book.twins([30, 20], side="new") == {30: 3}
    assert await book.between(1, None, side="old") == [Pair(3, 30)]
    assert await book.count() == 2
    book.close()


def test_a_node_that_keeps_its_memory_itself_imports_no_engine():
    code = (
        "import caxton_node.app, sys;"
        "print(sorted({'neo4j','qdrant_client','qdrant_edge'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout == "[]\n"
