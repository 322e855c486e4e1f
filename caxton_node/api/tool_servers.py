"""MCP servers in WebAssembly on this node, and calls of tools from outside of any agent."""

from typing import Annotated, Any, Final

from pydantic import Field

from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.tools import ToolView, show_tool
from caxton_node.api.types import READS_WHOLE, Body, Query, QueryBool, View
from caxton_node.domain.errors import NotFound, Rejected
from caxton_node.runtime.calling import call_tool
from caxton_node.runtime.node import Node
from caxton_node.runtime.tool_servers import DeployedServer

__all__ = ["ENDPOINTS"]

CALL_S: Final = 60.0
START_S: Final = 180.0
"""To compile and start a server."""

_SERVER: Final = PathParameter(
    name="server",
    description="Name of a server of tools.",
    pattern=r"[A-Za-z][A-Za-z0-9_-]{0,63}",
    missing_code="server_not_found",
    example="calculator",
)
_TOOL: Final = PathParameter(
    name="tool",
    description="Name of a tool.",
    pattern=r"[A-Za-z][A-Za-z0-9_.:-]{0,129}",
    missing_code="server_not_found",
    example="calculator.add",
)


class ServerView(View):
    """A server of tools."""

    name: str
    version: str
    number: int = Field(description="Of the deployment, as the node counts.")
    description: str
    state: str = Field(description="`available` or `quarantined`.")
    sha256: str
    isolation: str
    deployed_at: int = Field(description="Milliseconds since 1970, UTC.")
    tools: list[ToolView]
    grants: list[str]
    calls: int
    failures: int
    denied: int = Field(description="Calls of the host that lacked a grant.")
    busy_ms: float
    last_error: str | None


class ServerList(View):
    """All servers by name."""

    items: list[ServerView]
    total: int
    next_cursor: None = None


class Manifest(Body):
    """A server's manifest as text."""

    source: str = Field(description="TOML.", max_length=1_000_000)
    file: str | None = Field(default=None, max_length=4096, description="Its name, for errors.")


class DeployServerQuery(Query):
    """How to deploy."""

    approve_grants: QueryBool = Field(
        default=False, description="A person agrees to what it may do more than before."
    )


class RollbackServer(Body):
    """Which version to bring back."""

    number: Annotated[int, Field(ge=1, le=1_000_000), READS_WHOLE] | None = Field(
        default=None, description="The one before, when absent."
    )


class ToolCallBody(Body):
    """Arguments for a tool."""

    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolAnswer(View):
    """What a call came to."""

    tool: str
    is_error: bool
    content: Any


def show_server(server: DeployedServer) -> ServerView:
    """Return a server for a client."""
    spec = server.spec
    return ServerView(
        name=spec.name,
        version=spec.version,
        number=server.number,
        description=spec.description,
        state=server.state,
        sha256=spec.wasm.sha256,
        isolation=spec.wasm.isolation.value,
        deployed_at=server.deployed_at,
        tools=[show_tool(one) for one in server.tools],
        grants=list(server.granted()),
        calls=server.calls,
        failures=server.failures,
        denied=server.host.denied_count,
        busy_ms=round(server.busy_s * 1000, 3),
        last_error=server.last_error,
    )


async def list_servers(_: Request[NoQuery, None], node: Node) -> ServerList:
    """List the servers of tools."""
    items = [show_server(server) for server in node.tool_servers.all()]
    return ServerList(items=items, total=len(items))


async def deploy_server(request: Request[DeployServerQuery, Manifest], node: Node) -> Answer:
    """Bring a server into force: a new one, or a new version of one."""
    body = request.body
    server = await node.tool_servers.deploy(
        body.source, file=body.file, has_approval=request.query.approve_grants
    )
    return Answer(
        show_server(server),
        status=201,
        headers={"Location": f"{API_PREFIX}/tool-servers/{server.spec.name}"},
    )


async def get_server(request: Request[NoQuery, None], node: Node) -> ServerView:
    """Return everything about a server."""
    return show_server(node.tool_servers.get(request.path["server"]))


async def rollback_server(
    request: Request[NoQuery, RollbackServer | None], node: Node
) -> ServerView:
    """Bring an earlier version into force again."""
    number = None if request.body is None else request.body.number
    return show_server(await node.tool_servers.rollback(request.path["server"], number))


async def remove_server(request: Request[NoQuery, None], node: Node) -> Answer:
    """Take a server off the node."""
    await node.tool_servers.remove(request.path["server"])
    return Answer(None, status=204)


async def call_one_tool(request: Request[NoQuery, ToolCallBody], node: Node) -> ToolAnswer:
    """Call a tool of a server, as a person who tries it out."""
    name = request.path["tool"]
    if "." not in name:
        raise NotFound(
            "server_not_found", f"{name!r} is no tool of a server", hint="Write server.tool."
        )
    try:
        node.tools.get(name)
    except Rejected as error:
        raise NotFound("server_not_found", error.detail, hint=error.hint) from None
    result = await call_tool(
        node,
        name,
        request.body.arguments,
        timeout_s=CALL_S,
        traceparent=request.trace.traceparent,
    )
    return ToolAnswer(tool=name, is_error=result.is_error, content=result.content)


_BASE: Final = f"{API_PREFIX}/tool-servers"

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=_BASE,
        summary="List servers of tools",
        tag="tools",
        handle=list_servers,
        responses={200: Shape("All of them.", ServerList)},
    ),
    Endpoint(
        method="POST",
        path=_BASE,
        summary="Deploy a server of tools",
        tag="tools",
        handle=deploy_server,
        query=DeployServerQuery,
        body=Manifest,
        deadline_s=START_S,
        responses={201: Shape("It is in force.", ServerView, headers={"Location": "Its address."})},
        errors=("invalid_module", "state_conflict", "denied", "unreachable", "storage_unavailable"),
    ),
    Endpoint(
        method="GET",
        path=f"{_BASE}/{{server}}",
        summary="Show a server of tools",
        tag="tools",
        handle=get_server,
        parameters=(_SERVER,),
        responses={200: Shape("The server.", ServerView)},
    ),
    Endpoint(
        method="POST",
        path=f"{_BASE}/{{server}}/rollback",
        summary="Bring back an earlier version of a server",
        tag="tools",
        handle=rollback_server,
        parameters=(_SERVER,),
        body=RollbackServer,
        is_body_optional=True,
        deadline_s=START_S,
        responses={200: Shape("It is in force.", ServerView)},
        errors=("version_not_found", "invalid_module", "unreachable", "storage_unavailable"),
    ),
    Endpoint(
        method="DELETE",
        path=f"{_BASE}/{{server}}",
        summary="Remove a server of tools",
        tag="tools",
        handle=remove_server,
        parameters=(_SERVER,),
        responses={204: Shape("It is gone.")},
        errors=("storage_unavailable",),
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/tools/{{tool}}/call",
        summary="Call a tool of a server",
        tag="tools",
        handle=call_one_tool,
        parameters=(_TOOL,),
        body=ToolCallBody,
        deadline_s=CALL_S + 5.0,
        responses={200: Shape("What it came to.", ToolAnswer)},
        errors=("invalid_request", "tool_failed", "denied"),
    ),
)
