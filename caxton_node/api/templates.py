"""Templates: agents to begin with."""

import asyncio
from typing import Annotated, Final

from pydantic import Field

from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, PathParameter, Request, Shape
from caxton_node.api.types import Query, View
from caxton_node.documents.nearest import nearest
from caxton_node.domain.errors import NotFound
from caxton_node.runtime.node import Node
from caxton_node.templates import instantiate, list_templates

__all__ = ["ENDPOINTS"]


class TemplateSummary(View):
    """A template in the list."""

    name: str
    description: str


class TemplateList(View):
    """All templates by name."""

    items: list[TemplateSummary]
    total: int
    next_cursor: None = None


class TemplateDetail(TemplateSummary):
    """A template, ready to be written to files."""

    files: dict[str, str] = Field(description="Text by file name.")


class TemplateQuery(Query):
    """For whom."""

    agent_name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] = Field(
        default="MyAgent", description="What the new agent is called."
    )


async def list_agent_templates(_: Request[NoQuery, None], node: Node) -> TemplateList:  # noqa: ARG001 - a template depends on no node
    """List the templates."""
    templates = await asyncio.to_thread(list_templates)
    return TemplateList(
        items=[TemplateSummary(name=one.name, description=one.description) for one in templates],
        total=len(templates),
    )


async def get_agent_template(request: Request[TemplateQuery, None], node: Node) -> TemplateDetail:  # noqa: ARG001 - a template depends on no node
    """Return a template's files for an agent of a given name."""
    name = request.path["template"]
    descriptions = {one.name: one.description for one in await asyncio.to_thread(list_templates)}
    if name not in descriptions:
        near = nearest(name, descriptions)
        raise NotFound(
            "route_not_found",
            f"there is no template {name!r}",
            hint=f"Did you mean {near}?" if near else None,
            facts={"suggestions": [near] if near else []},
        )
    files = await asyncio.to_thread(instantiate, name, agent_name=request.query.agent_name)
    return TemplateDetail(name=name, description=descriptions[name], files=dict(files))


_TEMPLATE: Final = PathParameter(
    name="template",
    description="A template's name.",
    pattern=r"[a-z0-9-]{1,64}",
    missing_code="route_not_found",
    example="assistant",
)

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/templates",
        summary="List templates",
        tag="templates",
        handle=list_agent_templates,
        responses={200: Shape("All of them.", TemplateList)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/templates/{{template}}",
        summary="Read a template",
        tag="templates",
        handle=get_agent_template,
        parameters=(_TEMPLATE,),
        query=TemplateQuery,
        responses={200: Shape("Its files.", TemplateDetail)},
        errors=("route_not_found",),
    ),
)
