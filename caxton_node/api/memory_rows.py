"""The rows of memory's endpoints: what all of them share is said once."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from caxton_node.api.agents import AGENT_NAME
from caxton_node.api.table import (
    API_PREFIX,
    DEADLINE_S,
    Endpoint,
    Method,
    NoQuery,
    PathParameter,
    Shape,
)

__all__ = ["ENTITY_NAME", "memory_row"]

ENTITY_NAME: Final = PathParameter(
    name="entity",
    description="An entity's name, escaped; the case of letters does not matter.",
    pattern=r"[^\x00-\x1f\x7f/]{1,256}",
    missing_code="memory_not_found",
    example="staging server",
)

_VARIABLES: Final = {"{entity}": ENTITY_NAME, "{name}": AGENT_NAME}


def memory_row(
    route: str,
    handle: Callable[..., Any],
    summary: str,
    responses: Mapping[int, Shape],
    *,
    errors: tuple[str, ...] = (),
    query: type[BaseModel] = NoQuery,
    body: type[BaseModel] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Endpoint:
    """Return an endpoint's row.

    Args:
        route: Method and path, such as `GET /memory/search`. One below an agent belongs to it.
        handle: Carries it out.
        summary: What it does, for the reference.
        responses: What it answers.
        errors: Codes it can give besides those that every use of memory can.
        query: What its query says.
        body: What its body says.
        deadline_s: For all of it.
    """
    method, path = route.split(" ")
    return Endpoint(
        method=cast("Method", method),
        path=f"{API_PREFIX}{path}",
        summary=summary,
        tag="memory",
        handle=handle,
        belongs_to="agent" if path.startswith("/agents/{name}/") else "node",
        parameters=tuple(one for text, one in _VARIABLES.items() if text in path),
        query=query,
        body=body,
        responses=responses,
        errors=(*errors, "storage_unavailable"),
        deadline_s=deadline_s,
    )
