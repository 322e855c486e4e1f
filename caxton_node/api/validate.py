"""Checking a definition without deploying it."""

from typing import Final, Literal

from caxton_node.api.definitions import AgentSource, show_places
from caxton_node.api.problems import FieldProblem
from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import View
from caxton_node.domain.agent import AgentKind
from caxton_node.domain.errors import CaxtonError
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]


class CheckedAgent(View):
    """What a definition says."""

    name: str
    kind: AgentKind
    version: str
    description: str
    capabilities: list[str]
    tools: list[str]


class ValidDefinition(View):
    """A definition without mistakes."""

    valid: Literal[True] = True
    agent: CheckedAgent
    warnings: list[FieldProblem]


async def validate_agent(request: Request[NoQuery, AgentSource], node: Node) -> ValidDefinition:
    """Check the text of an agent's file."""
    body = request.body
    try:
        parsed = node.deployments.parse(body.source, body.format, body.file)
    except CaxtonError as error:
        error.facts["valid"] = False
        raise
    spec = parsed.spec
    return ValidDefinition(
        agent=CheckedAgent(
            name=spec.name,
            kind=spec.kind,
            version=spec.version,
            description=spec.description,
            capabilities=[str(capability) for capability in spec.capabilities],
            tools=list(spec.tools),
        ),
        warnings=show_places(parsed.warnings),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/validate",
        summary="Check a definition",
        tag="agents",
        handle=validate_agent,
        description="A definition with mistakes is answered with 422; `errors` names each.",
        body=AgentSource,
        is_while_draining=True,
        responses={200: Shape("It can be deployed.", ValidDefinition)},
        errors=("invalid_agent",),
    ),
)
