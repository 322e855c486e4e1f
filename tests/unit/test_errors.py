"""The table of errors is total: every code has one row, one class, and fits every surface."""

from http import HTTPStatus

import grpc
import pytest

from caxton_node.domain import errors
from caxton_node.domain.errors import (
    ERRORS,
    Bug,
    CaxtonError,
    Conflict,
    Denied,
    Failed,
    NotFound,
    Place,
    Rejected,
    TimedOut,
    Unavailable,
    error_from_code,
)

CLASSES = (Rejected, NotFound, Conflict, Denied, Unavailable, TimedOut, Failed, Bug)


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_a_code_belongs_to_exactly_one_class(code):
    assert len([kind for kind in CLASSES if code in kind.codes]) == 1


def test_no_class_has_a_code_without_a_row():
    assert frozenset().union(*(kind.codes for kind in CLASSES)) == frozenset(ERRORS)


def test_every_class_of_the_tree_owns_codes_of_its_own():
    classes = {kind for kind in CaxtonError.__subclasses__() if kind.__module__ == errors.__name__}
    assert classes == set(CLASSES)


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_a_row_fits_every_surface(code):
    kind = ERRORS[code]
    assert kind.title
    assert 400 <= HTTPStatus(kind.http_status) <= 599
    assert grpc.StatusCode[kind.grpc_status] is not grpc.StatusCode.OK
    assert 1 <= kind.exit_code <= 7
    assert kind.advice in {"mend", "retry", "give_up", "report"}


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_an_error_read_from_its_code_is_of_the_class_that_owns_it(code):
    error = error_from_code(code, "It went wrong.", hint="Try again.")
    assert code in type(error).codes
    assert (error.code, error.detail, error.hint) == (code, "It went wrong.", "Try again.")
    assert error.kind is ERRORS[code]


def test_a_code_from_the_future_is_a_failed_agent_and_keeps_its_name():
    error = error_from_code("quantum_decoherence", "It decohered.")
    assert error.code == "agent_failed"
    assert error.detail == "quantum_decoherence: It decohered."


def test_a_class_refuses_the_code_of_another():
    with pytest.raises(AssertionError, match="not a code of NotFound"):
        NotFound("denied", "You may not.")


def test_an_error_shows_its_places_and_its_hint():
    place = Place("Unknown key", file="a.toml", line=3, column=5, fix="Remove it")
    error = Rejected("invalid_agent", "The file is wrong.", places=[place], hint="See the docs.")
    assert str(error) == (
        "The file is wrong.\n  a.toml:3:5: Unknown key (Remove it)\n  See the docs."
    )


def test_a_place_without_a_file_names_line_and_column_in_words():
    assert str(Place("Unknown key", line=3, column=5)) == "line 3, column 5: Unknown key"
