"""Moving the memory to another backend: begun, watched, finished or taken back."""

from typing import Any, Final, Literal

from pydantic import Field

from caxton_node.api.memory_views import memory_of
from caxton_node.api.table import API_PREFIX, Answer, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import Body, View
from caxton_node.domain.errors import NotFound, Unavailable
from caxton_node.memory.moving.book import Move
from caxton_node.memory.service import Moves
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]

MOVE_TIMEOUT_S: Final = 300.0
"""For taking back a move whose source has missed writes: everything is gone through again."""


class MoveBody(Body):
    """Where the memory goes."""

    to: Literal["sqlite", "qdrant", "neo4j", "qdrant+neo4j"]


class ComparisonView(View):
    """Whether both sides say the same."""

    source: dict[str, int] = Field(description="Entities, observations and relations.")
    target: dict[str, int]
    sampled: int
    alike: int = Field(description="Of the sample: the same on both sides.")
    questions: int
    consistency: float | None = Field(
        description="The share of the ten best finds that both have in common; null without "
        "vectors to ask with."
    )
    is_good: bool


class MoveView(View):
    """How far a move is."""

    source: str
    target: str
    phase: Literal["copying", "copied", "failed", "switched", "finished", "rolled_back"]
    part: str
    facts: int = Field(description="Copied.")
    total_facts: int
    relations: int
    passes: int = Field(description="Times that everything was gone through.")
    problem: str = Field(description="Why it waits; empty when it does not.")
    comparison: ComparisonView | None


async def begin_move(request: Request[Any, MoveBody], node: Node) -> Answer:
    """Begin to move the memory; from now on every write goes to both."""
    moves = _moves_of(node)
    return Answer(_show(await moves.begin(request.body.to), moves), status=202)


async def get_move(_: Request[NoQuery, None], node: Node) -> MoveView:
    """Say how far the move is, or was."""
    moves = _moves_of(node)
    if moves.move is None:
        raise NotFound("memory_not_found", "the memory was never moved")
    return _show(moves.move, moves)


async def finish_move(_: Request[NoQuery, None], node: Node) -> MoveView:
    """Write to the target alone from now on."""
    moves = _moves_of(node)
    return _show(await moves.finish(), moves)


async def take_back_move(_: Request[NoQuery, None], node: Node) -> MoveView:
    """Let the source lead again, and end the move."""
    moves = _moves_of(node)
    return _show(await moves.take_back(), moves)


def _moves_of(node: Node) -> Moves:
    moves = memory_of(node).moves
    if moves is None:
        raise Unavailable("storage_unavailable", "this memory cannot be moved")
    return moves


def _show(move: Move, moves: Moves) -> MoveView:
    return MoveView(
        source=move.source,
        target=move.target,
        phase=move.phase,  # type: ignore[arg-type]  # one of them: the book says no other
        part=move.part,
        facts=move.facts,
        total_facts=move.total_facts,
        relations=move.relations,
        passes=move.passes,
        problem=moves.problem,
        comparison=ComparisonView(**move.report) if move.report else None,
    )


_ERRORS: Final = ("storage_unavailable",)

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/memory/move",
        summary="Move memory to another backend",
        tag="memory",
        handle=begin_move,
        body=MoveBody,
        responses={202: Shape("It is begun.", MoveView)},
        errors=("state_conflict", *_ERRORS),
        deadline_s=60.0,
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/memory/move",
        summary="See how far a move of memory is",
        tag="memory",
        handle=get_move,
        responses={200: Shape("How far it is.", MoveView)},
        errors=("memory_not_found", *_ERRORS),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/memory/move/finish",
        summary="Finish a move of memory",
        tag="memory",
        handle=finish_move,
        responses={200: Shape("The target is all there is now.", MoveView)},
        errors=("state_conflict", *_ERRORS),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/memory/move/back",
        summary="Take back a move of memory",
        tag="memory",
        handle=take_back_move,
        responses={200: Shape("The source leads again.", MoveView)},
        errors=("state_conflict", "memory_failed", *_ERRORS),
        deadline_s=MOVE_TIMEOUT_S,
    ),
)
