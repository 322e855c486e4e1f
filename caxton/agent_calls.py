"""What a client does with agents: deploys them, looks after them, talks to them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from caxton import models, wire
from caxton.connection import GRACE_S, ITEMS_MAX, PAGE, Connection
from caxton.errors import TimedOut
from caxton.v1 import agents_pb2
from caxton.v1.agents_pb2_grpc import AgentsStub

__all__ = ["AgentCalls"]


class AgentCalls:
    """The calls of a client that concern agents."""

    _connection: Connection

    async def deploy(
        self,
        source: str | Path,
        *,
        format: str | None = None,  # noqa: A002 - what users call it
        node: str | None = None,
        replicas: int | None = None,
        is_dry_run: bool = False,
    ) -> models.Deployed:
        """Deploy a definition: a new agent, or a new version of one that exists.

        Args:
            source: The text of an agent's file; a `Path` is read.
            format: `toml`, `markdown` or `json`; told from the file's name or the text when None.
            node: That shall run it; the server chooses when None.
            replicas: How many nodes shall run it; as the definition says when None.
            is_dry_run: Only say what would happen.

        Raises:
            CaxtonError: `invalid_agent`, with places; `denied`; `unreachable`, and then it may
                have been deployed.
            OSError: The file cannot be read.
        """
        request = agents_pb2.AgentsDeployRequest(
            source=_source(source, format),
            node=node or "",
            replicas=replicas,
            is_dry_run=is_dry_run,
        )
        answer = await self._connection.call(lambda to: AgentsStub(to).Deploy, request)
        return models.Deployed(
            agent=wire.agent(answer.agent),
            is_new=answer.is_new,
            warnings=wire.places(answer.warnings),
        )

    async def validate(
        self,
        source: str | Path,
        *,
        format: str | None = None,  # noqa: A002 - what users call it
    ) -> models.Validation:
        """Check a definition and deploy nothing.

        Args:
            source: The text of an agent's file; a `Path` is read.
            format: As for `deploy`.
        """
        request = agents_pb2.AgentsValidateRequest(source=_source(source, format))
        answer = await self._connection.read(lambda to: AgentsStub(to).Validate, request)
        return models.Validation(
            is_valid=answer.is_valid,
            errors=wire.places(answer.errors),
            warnings=wire.places(answer.warnings),
        )

    async def agents(
        self,
        *,
        capability: str | None = None,
        state: str | None = None,
        node: str | None = None,
    ) -> list[models.Agent]:
        """Return the agents by name.

        Args:
            capability: Only those that answer requests for it.
            state: Only those in it, such as `running`.
            node: Only those on it.

        Raises:
            CaxtonError: The call failed.
            ValueError: There is no such state.
        """
        request = agents_pb2.AgentsListRequest(
            page_size=PAGE,
            capability=capability or "",
            state=wire.STATES.number(state),
            node=node or "",
        )
        found: list[models.Agent] = []
        while len(found) < ITEMS_MAX:
            answer = await self._connection.read(lambda to: AgentsStub(to).List, request)
            found += map(wire.agent, answer.agents)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return found

    async def agent(self, name: str) -> models.AgentDetail:
        """Return one agent with its definition.

        Raises:
            NotFound: `agent_not_found`.
        """
        request = agents_pb2.AgentsGetRequest(name=name)
        return wire.agent_detail(
            await self._connection.read(lambda to: AgentsStub(to).Get, request)
        )

    async def delete(self, name: str, *, is_forced: bool = False) -> None:
        """Delete an agent.

        Args:
            name: Of the agent.
            is_forced: Also when messages wait: they become dead letters.

        Raises:
            NotFound: `agent_not_found`.
            Conflict: `state_conflict`.
        """
        request = agents_pb2.AgentsDeleteRequest(name=name, is_forced=is_forced)
        await self._connection.call(lambda to: AgentsStub(to).Delete, request)

    async def restart(self, name: str) -> models.Agent:
        """Start an agent afresh; waiting messages stay."""
        request = agents_pb2.AgentsRestartRequest(name=name)
        answer = await self._connection.call(lambda to: AgentsStub(to).Restart, request)
        return wire.agent(answer.agent)

    async def stop(self, name: str, *, grace_s: float | None = None) -> models.Agent:
        """Let an agent take no more turns until a restart; messages wait.

        Args:
            name: Of the agent.
            grace_s: How long turns under way may go on; the server's default when None.
        """
        request = agents_pb2.AgentsStopRequest(name=name)
        if grace_s is not None:
            request.grace.CopyFrom(wire.duration(grace_s))
        answer = await self._connection.call(lambda to: AgentsStub(to).Stop, request)
        return wire.agent(answer.agent)

    async def suspend(self, name: str) -> models.Agent:
        """Let an agent take no turns until it is resumed; messages wait."""
        request = agents_pb2.AgentsSuspendRequest(name=name)
        answer = await self._connection.call(lambda to: AgentsStub(to).Suspend, request)
        return wire.agent(answer.agent)

    async def resume(self, name: str) -> models.Agent:
        """Let a suspended agent go on."""
        request = agents_pb2.AgentsResumeRequest(name=name)
        answer = await self._connection.call(lambda to: AgentsStub(to).Resume, request)
        return wire.agent(answer.agent)

    async def rollback(self, name: str, version_number: int | None = None) -> models.Agent:
        """Put an earlier version in force: the one before when none is named."""
        request = agents_pb2.AgentsRollbackRequest(name=name, version_number=version_number)
        answer = await self._connection.call(lambda to: AgentsStub(to).Rollback, request)
        return wire.agent(answer.agent)

    async def scale(self, name: str, replicas: int) -> models.Agent:
        """Change how many nodes run an agent."""
        request = agents_pb2.AgentsScaleRequest(name=name, replicas=replicas)
        answer = await self._connection.call(lambda to: AgentsStub(to).Scale, request)
        return wire.agent(answer.agent)

    async def versions(self, name: str) -> list[models.AgentVersion]:
        """Return the versions of an agent, the newest first."""
        request = agents_pb2.AgentsVersionsRequest(name=name, page_size=PAGE)
        found: list[models.AgentVersion] = []
        while len(found) < ITEMS_MAX:
            answer = await self._connection.read(lambda to: AgentsStub(to).Versions, request)
            found += map(wire.version, answer.versions)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return found

    async def logs(
        self,
        name: str,
        *,
        tail: int = 100,
        level: str | None = None,
        is_following: bool = False,
    ) -> AsyncGenerator[models.LogLine]:
        """Yield the last lines of an agent's log and, if asked, those to come.

        Args:
            name: Of the agent.
            tail: How many of the last lines, 1 to 1,000.
            level: The least serious to show, such as `warning`.
            is_following: Go on until the caller stops.
        """
        request = agents_pb2.AgentsLogsRequest(
            name=name, tail=tail, level=wire.LEVELS.number(level), is_following=is_following
        )
        stream = self._connection.stream(lambda to: AgentsStub(to).Logs, request)
        async with aclosing(stream) as answers:
            async for answer in answers:
                for line in answer.lines:
                    yield wire.log_line(line)

    async def chat(
        self,
        agent: str,
        content: Any,
        *,
        conversation_id: str | None = None,
        sender: str | None = None,
        timeout_s: float = 60.0,
    ) -> models.Reply:
        """Say something to an agent and return its answer, which may be a negative one.

        Args:
            agent: Its name, on whatever node it is.
            content: Usually text; any JSON value.
            conversation_id: Go on with this conversation.
            sender: Who speaks; `client` when None.
            timeout_s: For the answer.

        Raises:
            CaxtonError: `agent_not_found`, `agent_busy`, `timed_out`, …
        """
        events = self.chat_events(
            agent,
            content,
            conversation_id=conversation_id,
            sender=sender,
            timeout_s=timeout_s,
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, models.Reply):
                    return event
        raise TimedOut("timed_out", f"the chat with {agent!r} ended without an answer")

    async def chat_events(
        self,
        agent: str,
        content: Any,
        *,
        conversation_id: str | None = None,
        sender: str | None = None,
        timeout_s: float = 60.0,
    ) -> AsyncGenerator[models.ChatEvent]:
        """Say something to an agent and yield what its turn shows; the `Reply` comes last.

        Args:
            agent: Its name, on whatever node it is.
            content: Usually text; any JSON value.
            conversation_id: Go on with this conversation.
            sender: Who speaks; `client` when None.
            timeout_s: For the answer.

        Raises:
            CaxtonError: `agent_not_found`, `agent_busy`, `timed_out`, …
        """
        request = agents_pb2.AgentsChatRequest(
            name=agent,
            conversation_id=conversation_id or "",
            sender=sender or "",
            timeout=wire.duration(timeout_s),
        )
        if isinstance(content, str):
            request.text = content
        else:
            request.json = wire.json_bytes(content)
        stream = self._connection.stream(
            lambda to: AgentsStub(to).Chat, request, timeout_s=timeout_s + GRACE_S
        )
        async with aclosing(stream) as answers:
            async for answer in answers:
                event = wire.chat_event(answer.event)
                if event is not None:
                    yield event


def _source(source: str | Path, format_: str | None) -> agents_pb2.AgentSource:
    is_file = isinstance(source, Path)
    return agents_pb2.AgentSource(
        text=source.read_text(encoding="utf-8") if isinstance(source, Path) else source,
        format=wire.FORMATS.number(format_),
        file_name=str(source) if is_file else "",
    )
