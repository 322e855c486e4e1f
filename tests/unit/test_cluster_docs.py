"""The documentation says what the code does."""

from pathlib import Path

from caxton_cluster.swim.diagram import state_diagram, transitions
from caxton_cluster.types import MemberState

DOCUMENT = Path(__file__).parents[2] / "docs" / "explanation" / "membership.md"


def test_the_diagram_in_the_docs_is_the_one_the_code_draws():
    assert f"```mermaid\n{state_diagram()}\n```" in DOCUMENT.read_text()


def test_no_state_is_a_dead_end_and_none_is_out_of_reach():
    arrows = list(transitions())
    states = {state.name.lower() for state in MemberState}

    assert {arrow.source for arrow in arrows} - {"[*]"} == states
    assert {arrow.target for arrow in arrows} - {"[*]"} == states
