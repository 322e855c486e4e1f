"""Definitions of agents as clients send them, and what deploying one came to."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag

from caxton_node.agentfile import AgentFormat, ParsedAgent
from caxton_node.api.problems import FieldProblem
from caxton_node.api.table import Request
from caxton_node.api.types import Body, View
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import Place
from caxton_node.runtime.deployments import Deployed
from caxton_node.runtime.seat import Seat

__all__ = [
    "AgentSource",
    "Definition",
    "DeployedView",
    "DryRunView",
    "show_deployed",
    "show_dry_run",
    "show_places",
    "source_of",
]

_SOURCE: Final = "source"
_OBJECT: Final = "definition"


class AgentSource(Body):
    """An agent's file as text."""

    source: str = Field(description="The whole file.", max_length=1_000_000)
    format: AgentFormat = Field(strict=False)
    file: str | None = Field(default=None, max_length=4096, description="Its name, for errors.")


class AgentObject(BaseModel):
    """An agent's definition itself, as JSON: the keys of an agent file."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"not": {"required": [_SOURCE]}})

    name: Any = Field(json_schema_extra={"type": "string"})


def _which(value: Any) -> str:
    return _SOURCE if isinstance(value, dict) and _SOURCE in value else _OBJECT


class Definition(
    RootModel[
        Annotated[
            Annotated[AgentSource, Tag(_SOURCE)] | Annotated[AgentObject, Tag(_OBJECT)],
            Discriminator(_which),
        ]
    ]
):
    """Either the text of an agent's file, or the definition itself as an object."""

    UNION_TAGS: ClassVar[frozenset[str]] = frozenset({_SOURCE, _OBJECT})


class DeployedView(View):
    """What a deployment came to."""

    name: str
    state: AgentState
    version: str
    number: int
    is_new: bool = Field(description="The first version of this agent.")
    is_changed: bool = Field(description="False when this very definition was in force already.")
    is_canary: bool = Field(
        description="It takes a share of new conversations; `number` is still the one in force."
    )
    capabilities: list[str]
    tools: list[str]
    warnings: list[FieldProblem]


class DryRunView(View):
    """What deploying a definition would come to. Nothing was changed."""

    valid: Literal[True] = True
    name: str
    version: str
    is_new: bool
    capabilities: list[str]
    tools: list[str]
    warnings: list[FieldProblem]


def source_of(request: Request[Any, Definition]) -> tuple[str, AgentFormat, str | None]:
    """Return a definition's text, its format, and what errors call it."""
    root = request.body.root
    if isinstance(root, AgentSource):
        return root.source, root.format, root.file
    return request.raw_body.decode(), AgentFormat.JSON, None


def show_places(places: tuple[Place, ...]) -> list[FieldProblem]:
    """Return places in a definition for a client."""
    return [
        FieldProblem(
            message=place.message,
            field=place.field,
            file=place.file,
            line=place.line,
            column=place.column,
            rule=place.rule,
            fix=place.fix,
        )
        for place in places
    ]


def show_deployed(deployed: Deployed, seat: Seat) -> DeployedView:
    """Return what a deployment came to, for a client."""
    return DeployedView(
        name=deployed.agent,
        state=seat.state,
        version=deployed.version,
        number=deployed.number,
        is_new=deployed.is_new,
        is_changed=deployed.is_changed,
        is_canary=deployed.is_canary,
        capabilities=[str(capability) for capability in seat.spec.capabilities],
        tools=list(seat.spec.tools),
        warnings=show_places(deployed.warnings),
    )


def show_dry_run(parsed: ParsedAgent, *, is_new: bool) -> DryRunView:
    """Return what a definition says, for a client that only asks."""
    return DryRunView(
        name=parsed.spec.name,
        version=parsed.spec.version,
        is_new=is_new,
        capabilities=[str(capability) for capability in parsed.spec.capabilities],
        tools=list(parsed.spec.tools),
        warnings=show_places(parsed.warnings),
    )
