# ruff: noqa: N802 -- methods are called as the contract calls them
"""`caxton.v1.Agents`: deploying agents, looking after them, talking to them."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc
import msgspec

from caxton.v1 import agents_pb2
from caxton.v1.agents_pb2_grpc import AgentsServicer
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import CaxtonError, NotFound, Place, Rejected
from caxton_node.domain.message import encode_content
from caxton_node.grpc_api.agent_views import (
    LEVELS,
    STATES,
    definition_body,
    show_agent,
    show_places,
    show_source,
    show_spec,
)
from caxton_node.grpc_api.asking import Asking, page_query
from caxton_node.grpc_api.chat import question_of, show_turn
from caxton_node.grpc_api.failures import show_place
from caxton_node.grpc_api.shell import trace_in_force
from caxton_node.grpc_api.wire import duration_s, show_instant
from caxton_node.runtime.asking import agent_to_ask, follow
from caxton_node.runtime.door import Others
from caxton_node.runtime.node import Node

__all__ = ["Agents"]

GRACE_S_MAX: Final = 600.0
CHAT_S_DEFAULT: Final = 60.0
CHAT_S_MAX: Final = 600.0
LOG_TAIL_DEFAULT: Final = 100

HEARTBEAT_S: Final = 15.0

_Context = grpc.aio.ServicerContext[Any, Any]


class Agents(AgentsServicer):
    """The service.

    Args:
        node: Whose agents these are.
        asking: For what REST answers too.
        others: The other nodes, where there may be some.
    """

    def __init__(self, node: Node, asking: Asking, others: Others | None) -> None:
        self._node = node
        self._asking = asking
        self._others = others

    async def Deploy(self, request: Any, _: _Context) -> agents_pb2.AgentsDeployResponse:
        """Deploy a definition."""
        if request.strategy not in (0, agents_pb2.DEPLOY_STRATEGY_IMMEDIATE):
            raise _broken("strategy", "is not available in this version: only immediate is")
        query = {}
        if request.is_dry_run:
            query["dry_run"] = "true"
        if request.node:
            query["node"] = request.node
        if request.HasField("replicas"):
            query["replicas"] = str(request.replicas)
        view = await self._asking.post("/agents", definition_body(request), query)
        return agents_pb2.AgentsDeployResponse(
            agent=show_agent(view),
            warnings=show_places(view["warnings"]),
            is_new=view["is_new"],
        )

    async def Validate(self, request: Any, _: _Context) -> agents_pb2.AgentsValidateResponse:
        """Check a definition and deploy nothing."""
        try:
            view = await self._asking.post("/validate", definition_body(request))
        except CaxtonError as error:
            if error.code != "invalid_agent":
                raise
            return agents_pb2.AgentsValidateResponse(errors=map(show_place, error.places))
        agent = view["agent"]
        spec = agents_pb2.AgentSpec(
            name=agent["name"],
            capabilities=agent["capabilities"],
            version=agent["version"],
            description=agent["description"],
            tools=agent["tools"],
        )
        return agents_pb2.AgentsValidateResponse(
            is_valid=True, warnings=show_places(view["warnings"]), spec=spec
        )

    async def List(self, request: Any, _: _Context) -> agents_pb2.AgentsListResponse:
        """List agents by name."""
        query = page_query(request.page_size, request.page_token)
        if request.capability:
            query["capability"] = request.capability
        if request.state:
            query["state"] = STATES.word(request.state) or str(request.state)
        if request.node:
            query["node"] = request.node
        view = await self._asking.get("/agents", query)
        return agents_pb2.AgentsListResponse(
            agents=map(show_agent, view["items"]),
            next_page_token=view["next_cursor"] or "",
            total=view["total"],
        )

    async def Get(self, request: Any, _: _Context) -> agents_pb2.AgentsGetResponse:
        """Return one agent with its definition."""
        view = await self._asking.get(_address(request.name))
        return agents_pb2.AgentsGetResponse(
            agent=show_agent(view), spec=show_spec(view), source=show_source(view)
        )

    async def Delete(self, request: Any, _: _Context) -> agents_pb2.AgentsDeleteResponse:
        """Delete an agent."""
        query = {"force": "true"} if request.is_forced else None
        await self._asking.delete(_address(request.name), query)
        return agents_pb2.AgentsDeleteResponse()

    async def Restart(self, request: Any, _: _Context) -> agents_pb2.AgentsRestartResponse:
        """Start an agent again."""
        return agents_pb2.AgentsRestartResponse(agent=await self._change(request.name, "restart"))

    async def Stop(self, request: Any, _: _Context) -> agents_pb2.AgentsStopResponse:
        """Stop an agent."""
        body = None
        if request.HasField("grace"):
            grace_s = duration_s(request.grace, field="grace", maximum_s=GRACE_S_MAX)
            body = {"grace_s": grace_s}
        agent = await self._change(request.name, "stop", body)
        return agents_pb2.AgentsStopResponse(agent=agent)

    async def Suspend(self, request: Any, _: _Context) -> agents_pb2.AgentsSuspendResponse:
        """Suspend an agent."""
        return agents_pb2.AgentsSuspendResponse(agent=await self._change(request.name, "suspend"))

    async def Resume(self, request: Any, _: _Context) -> agents_pb2.AgentsResumeResponse:
        """Let a suspended agent go on."""
        return agents_pb2.AgentsResumeResponse(agent=await self._change(request.name, "resume"))

    async def Scale(self, request: Any, _: _Context) -> agents_pb2.AgentsScaleResponse:
        """Change how many replicas there are."""
        body = {"replicas": request.replicas}
        agent = await self._change(request.name, "scale", body)
        return agents_pb2.AgentsScaleResponse(agent=agent)

    async def Rollback(self, request: Any, _: _Context) -> agents_pb2.AgentsRollbackResponse:
        """Put an earlier version in force."""
        body = {"number": request.version_number} if request.HasField("version_number") else None
        agent = await self._change(request.name, "rollback", body)
        return agents_pb2.AgentsRollbackResponse(agent=agent)

    async def _change(self, name: str, verb: str, body: object = None) -> agents_pb2.Agent:
        return show_agent(await self._asking.post(f"{_address(name)}/{verb}", body))

    async def Versions(self, request: Any, _: _Context) -> agents_pb2.AgentsVersionsResponse:
        """List the versions of an agent, the newest first."""
        size = int(page_query(request.page_size, "")["limit"])
        view = await self._asking.get(f"{_address(request.name)}/versions")
        newest_first = view["items"][::-1]
        token = request.page_token
        if token and not (token.isascii() and token.isdecimal() and len(token) < 10):
            raise _broken("page_token", "is none of this list")
        start = int(token or 0)
        shown = newest_first[start : start + size]
        versions = [
            agents_pb2.AgentVersion(
                number=one["number"],
                version=one["version"],
                digest=one["digest"],
                deployed_at=show_instant(one["deployed_at"]),
                is_current=one["is_current"],
            )
            for one in shown
        ]
        has_more = start + size < len(newest_first)
        return agents_pb2.AgentsVersionsResponse(
            versions=versions,
            next_page_token=str(start + size) if has_more else "",
            total=len(newest_first),
        )

    async def Logs(self, request: Any, _: _Context) -> AsyncIterator[agents_pb2.AgentsLogsResponse]:
        """Return the last lines of an agent's log and, if asked, those to come."""
        query = {"tail": str(request.tail or LOG_TAIL_DEFAULT)}
        if request.level:
            query["level"] = LEVELS.word(request.level) or str(request.level)
        path = f"{_address(request.name)}/logs"
        if not request.is_following:
            view = await self._asking.get(path, query)
            yield agents_pb2.AgentsLogsResponse(lines=map(_line, view["items"]))
            return
        async with aclosing(self._asking.follow(path, query)) as lines:
            async for told in lines:
                if told is not None and told.name == "line":
                    line = _line(msgspec.json.decode(told.data))
                    yield agents_pb2.AgentsLogsResponse(lines=[line])

    async def Chat(
        self, request: agents_pb2.AgentsChatRequest, _: _Context
    ) -> AsyncIterator[agents_pb2.AgentsChatResponse]:
        """Say something to an agent and follow the turn to its reply."""
        node = self._node
        timeout_s = CHAT_S_DEFAULT
        if request.HasField("timeout"):
            timeout_s = duration_s(request.timeout, field="timeout", maximum_s=CHAT_S_MAX)
        match request.WhichOneof("content"):
            case "text":
                content = encode_content(request.text)
            case "json":
                content = request.json
                decode_json(content, what="`json`")
            case _:
                raise _broken("content", "is missing")
        _address(request.name)
        question = question_of(
            request,
            node,
            receiver=agent_to_ask(node, request.name, self._others),
            content=content,
            traceparent=trace_in_force().traceparent,
        )
        turn = follow(
            node,
            question,
            timeout_s=timeout_s,
            heartbeat_s=HEARTBEAT_S,
            others=self._others,
        )
        async with aclosing(turn):
            async for event in show_turn(turn):
                yield agents_pb2.AgentsChatResponse(event=event)


def _line(view: Any) -> agents_pb2.LogLine:
    return agents_pb2.LogLine(
        at=show_instant(view["at"]),
        level=LEVELS.number(view["level"]),
        text=view["text"],
        conversation_id=view["conversation_id"],
    )


def _address(name: str) -> str:
    """Return where an agent is found; what is no name is no part of an address either."""
    if not name or "/" in name:
        raise NotFound("agent_not_found", f"no agent is called {name[:100]!r}")
    return f"/agents/{name}"


def _broken(field: str, what: str) -> Rejected:
    place = Place(f"`{field}` {what}", field=field, rule="form")
    return Rejected("invalid_request", "the request breaks a rule", places=[place])
