"""An agent made of a prompt, a model and tools: the shell around `Turn`.

It builds the prompt, calls the model, runs the tools, and records each step, so that a turn
taken again after a crash repeats no model call and no effect.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, assert_never

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.delivery import DeliveryMode
from caxton_node.domain.errors import CaxtonError, Failed
from caxton_node.domain.message import Message
from caxton_node.domain.tool import ToolCall, ToolResult
from caxton_node.llm.budget import BudgetDecision, Exhausted, Summarize
from caxton_node.llm.model import OFFLINE, Model, ModelReply, ModelRequest
from caxton_node.memory.knowledge import Knowledge
from caxton_node.memory.service import Memory
from caxton_node.routing.clock import Clock
from caxton_node.runtime.agent import Reply, TurnContext
from caxton_node.runtime.past import Past, Pasts, in_order
from caxton_node.runtime.prompt import HISTORY_MESSAGES_MAX, build_prompt, text_of
from caxton_node.runtime.remembering import AgentMemory, decode_knowledge, encode_knowledge
from caxton_node.runtime.spending import Spending, day_of
from caxton_node.runtime.steps import (
    Recorder,
    decode_reply,
    decode_result,
    encode_reply,
    encode_result,
)
from caxton_node.runtime.turn import CallModel, CallTools, Fail, Say, Turn
from caxton_node.store.protocol import LogLine, StepState, Store, UsageTotal
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.logging import LEVELS
from caxton_node.telemetry.spans import Attribute, Kind
from caxton_node.tools.arguments import check_arguments
from caxton_node.tools.artifacts import open_artifacts
from caxton_node.tools.permissions import Refused, decide_permission
from caxton_node.tools.registry import ToolRegistry
from caxton_node.tools.tool import Artifacts, Tool, ToolContext

__all__ = ["LlmAgent", "LlmParts"]

LOG_TEXT_MAX: Final = 1_000
SUMMARY_TEXT_MAX: Final = 200

_log = logging.getLogger("caxton.agents")

_Facts = dict[str, Attribute | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmParts:
    """What every LLM agent of a node shares."""

    tools: ToolRegistry
    store: Store
    pasts: Pasts
    clock: Clock
    counts: Counts
    agents_folder: Path
    """Each agent has a folder of its own below it."""
    memory: Memory | None = None
    """None on a node that keeps none."""


class LlmAgent:
    """Takes turns with a model. Conversations run side by side and share nothing."""

    def __init__(
        self,
        spec: AgentSpec,
        *,
        model: Model,
        parts: LlmParts,
        new_spending: Callable[[UsageTotal, UsageTotal], Spending],
    ) -> None:
        self._spec = spec
        self._model = model
        self._parts = parts
        self._new_spending = new_spending
        self._folder = parts.agents_folder / spec.name
        self._memory = None
        if parts.memory is not None and spec.memory.is_enabled:
            self._memory = AgentMemory(parts.memory, spec)
            parts.memory.want_model()

    async def close(self) -> None:
        """Nothing to release: the model's connections belong to the node."""

    async def handle(self, message: Message, context: TurnContext) -> Reply | None:
        """Take a turn on a message.

        Raises:
            Failed: `model_failed`, `budget_exhausted`, `loop_detected`, `outcome_unknown`.
            TimedOut: `timed_out`, of the model.
        """
        run = _Run(self, message, context)
        spec = self._spec
        facts = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": spec.name,
            "gen_ai.agent.version": str(spec.version),
            "gen_ai.conversation.id": message.conversation_id,
            "gen_ai.provider.name": self._model.provider,
        }
        with context.span(f"invoke_agent {spec.name}", Kind.INTERNAL, facts):
            return await run.to_the_end()

    def after_crash(self) -> None:
        """Nothing to begin anew: an agent holds no state between turns."""

    # What a run needs of its agent.

    @property
    def spec(self) -> AgentSpec:
        """The definition."""
        return self._spec

    @property
    def model(self) -> Model:
        """The model that this agent calls."""
        return self._model

    @property
    def parts(self) -> LlmParts:
        """What the node's agents share."""
        return self._parts

    @property
    def folder(self) -> Path:
        """The agent's own folder."""
        return self._folder

    @property
    def memory(self) -> AgentMemory | None:
        """What it remembers; None for an agent that remembers nothing."""
        return self._memory

    async def past(self, conversation_id: str) -> Past:
        """Return what the agent looks back on in a conversation."""
        return await self._parts.pasts.of(self._spec.name, conversation_id, self.today())

    def spending(self, past: Past) -> Spending:
        """Return what the agent may still spend."""
        return self._new_spending(past.in_conversation, past.today)

    async def account(self, reply: ModelReply, spending: Spending, conversation_id: str) -> None:
        """Write down what a call of the model cost."""
        counts, usage = self._parts.counts, reply.usage
        counts.model_calls += 1
        counts.model_input_tokens += usage.input_tokens
        counts.model_output_tokens += usage.output_tokens
        await self._parts.store.add_usage(
            agent=self._spec.name,
            conversation_id=conversation_id,
            day=self.today(),
            usage=spending.add(reply),
        )

    async def ask_aside(self, request: ModelRequest, conversation_id: str) -> ModelReply | None:
        """Ask the model outside of a turn, on the agent's budget.

        Returns:
            Its reply, or None without a model or where the budget has no room for the call.

        Raises:
            Failed: `model_failed`.
            TimedOut: `timed_out`.
        """
        if self._model.provider == OFFLINE:
            return None
        spending = self.spending(await self.past(conversation_id))
        if isinstance(spending.check(request), Summarize | Exhausted):
            return None
        reply = await self._model.complete(request)
        await self.account(reply, spending, conversation_id)
        return reply

    def today(self) -> str:
        """Return the day that spending counts for, in UTC."""
        return day_of(self._parts.clock.now_ms())


class _Run:
    """One turn from its first action to its last."""

    def __init__(self, agent: LlmAgent, message: Message, context: TurnContext) -> None:
        self._agent = agent
        self._message = message
        self._context = context
        self._parts = agent.parts
        self._recorder = Recorder(
            agent.parts.store,
            agent.parts.clock,
            message.id,
            is_kept=message.delivery is not DeliveryMode.AT_MOST_ONCE,
        )
        self._artifacts: Artifacts | None = None
        self._is_silent = True
        """The model call under way has said nothing yet."""

    async def to_the_end(self) -> Reply | None:
        spec = self._agent.spec
        if self._context.is_resumed:
            await self._recorder.load()
        past = await self._agent.past(self._message.conversation_id)
        self._spending = self._agent.spending(past)
        history = self._history(past)
        knowledge = await self._recall()
        turn = Turn(
            spec=spec,
            prompt=build_prompt(spec, self._message, history=history, knowledge=knowledge.text),
            tools=self._parts.tools.specs(spec.tools),
            question=text_of(self._message.body()),
            check_budget=self._check_budget,
            knowledge=knowledge.texts,
        )
        action = turn.begin()
        while True:
            match action:
                case CallModel(request):
                    action = turn.on_model(await self._call_model(request))
                case CallTools(calls, malformed):
                    results = [
                        (call, await self._call_tool(call, malformed.get(call.id)))
                        for call in calls
                    ]
                    action = turn.on_tools(results)
                case Say(reply):
                    await self._learn(reply, history, knowledge)
                    await self._log_turn("info", f"answered {self._message.performative.value}")
                    return reply
                case Fail(error):
                    await self._log_turn("error", f"{error.code}: {error.detail}")
                    raise error
                case _:
                    assert_never(action)

    # Memory.

    async def _recall(self) -> Knowledge:
        """Return what is known about the question: what was known when the turn first began."""
        memory = self._agent.memory
        if memory is None:
            return Knowledge()
        before = self._recorder.before(self._recorder.next_number)
        if before is not None and before.kind != "recall":
            return Knowledge()  # it began before its agent had a memory
        number = self._recorder.take_number()
        if before is not None:
            return decode_knowledge(before.data)
        await self._recorder.start(number, "recall", "memory", is_effect=False)
        facts: _Facts = {"gen_ai.operation.name": "search_memory", "caxton.step": number}
        with self._context.span("search_memory", Kind.INTERNAL, facts) as span:
            knowledge = await memory.recall(self._message)
            span.set("caxton.knowledge.count", len(knowledge.texts))
        await self._recorder.finish(number, "recall", "memory", encode_knowledge(knowledge))
        if knowledge.texts:
            self._context.show(
                "turn.recall", count=len(knowledge.texts), note=knowledge.note, step=number
            )
        return knowledge

    async def _learn(self, reply: Reply, history: list[Message], knowledge: Knowledge) -> None:
        """Store what is worth keeping, once."""
        memory = self._agent.memory
        if memory is None:
            return
        number = self._recorder.take_number()
        if self._recorder.before(number) is not None:
            return
        said_before = text_of(history[-1].body()) if history else ""
        await self._recorder.start(number, "learn", "memory", is_effect=False)
        count = await memory.learn(self._message, reply, said_before)
        if knowledge.observation_ids:
            await memory.note_use(knowledge)
        await self._recorder.finish(number, "learn", "memory", b"%d" % count)

    def _history(self, past: Past) -> list[Message]:
        """Return what came to its end in this conversation before this turn.

        Without what an earlier attempt answered whose node died before it could say so.
        """
        own = self._message
        before = [
            one
            for one in in_order(past.ended)
            if own.id != one.id and own.answers_go_under != one.in_reply_to
        ]
        return before[-HISTORY_MESSAGES_MAX:]

    def _check_budget(self, request: ModelRequest) -> BudgetDecision:
        decision = self._spending.check(request)
        if isinstance(decision, Summarize):
            self._spending.note_summary()
        return decision

    # The model.

    async def _call_model(self, request: ModelRequest) -> ModelReply:
        number = self._recorder.take_number()
        before = self._recorder.before(number)
        if before is not None and before.state is StepState.DONE:
            return decode_reply(before.data)
        name = request.model or self._agent.model.provider
        await self._recorder.start(number, "model", name, is_effect=False)
        self._context.show("turn.model_call", model=name, step=number)
        self._is_silent = True
        try:
            reply = await self._complete(request, number, name)
        except CaxtonError as error:
            self._parts.counts.model_errors += 1
            await self._log_turn("error", f"{error.code}: {error.detail}")
            raise
        await self._recorder.finish(number, "model", name, encode_reply(reply))
        await self._agent.account(reply, self._spending, self._message.conversation_id)
        return reply

    async def _complete(self, request: ModelRequest, number: int, name: str) -> ModelReply:
        """Call the model, timed and recorded."""
        clock = self._parts.clock
        facts: _Facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._agent.model.provider,
            "gen_ai.request.model": request.model,
            "gen_ai.agent.name": self._agent.spec.name,
            "gen_ai.conversation.id": self._message.conversation_id,
            "caxton.step": number,
        }
        with self._context.span(f"chat {name}", Kind.CLIENT, facts) as span:
            began_at = clock.now_ms()
            try:
                traced = replace(request, traceparent=self._context.traceparent)
                reply = await self._agent.model.complete(traced, self._on_delta)
            finally:
                self._parts.counts.model_s.observe((clock.now_ms() - began_at) / 1000)
            span.set("gen_ai.response.model", reply.model)
            span.set("gen_ai.usage.input_tokens", reply.usage.input_tokens)
            span.set("gen_ai.usage.output_tokens", reply.usage.output_tokens)
        return reply

    def _on_delta(self, text: str) -> None:
        if self._is_silent:
            # What an earlier call said is worth keeping only until there is something newer.
            self._context.keep_partial("")
            self._is_silent = False
        self._context.add_partial(text)
        self._context.show("turn.delta", text=text)

    # Tools.

    async def _call_tool(self, call: ToolCall, malformed: str | None) -> ToolResult:
        number = self._recorder.take_number()
        before = self._recorder.before(number)
        if before is not None and before.state is StepState.DONE:
            return decode_result(before.data)
        prepared = self._prepare(call, malformed)
        if isinstance(prepared, ToolResult):
            return await self._keep_result(number, call, prepared)
        tool = self._parts.tools.get(call.name)
        is_effect = not tool.spec.is_read_only
        if before is not None and self._message.delivery is DeliveryMode.EXACTLY_ONCE:
            raise Failed(
                "outcome_unknown",
                f"{call.name!r} was being called when the node stopped; "
                "whether it took effect is unknown",
                hint="Look at the world, then retry the dead letter or drop it.",
            )
        await self._recorder.start(number, "tool", call.name, is_effect=is_effect)
        self._context.show(
            "turn.tool_call", name=call.name, arguments=dict(call.arguments), step=number
        )
        result = await self._execute(tool, call, prepared, number)
        return await self._keep_result(number, call, result)

    async def _execute(
        self, tool: Tool, call: ToolCall, prepared: Mapping[str, Any], number: int
    ) -> ToolResult:
        """Call a tool, timed and recorded."""
        clock = self._parts.clock
        facts: _Facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.type": "function",
            "gen_ai.agent.name": self._agent.spec.name,
            "gen_ai.conversation.id": self._message.conversation_id,
            "caxton.step": number,
        }
        with self._context.span(f"execute_tool {call.name}", Kind.INTERNAL, facts) as span:
            began_at = clock.now_ms()
            try:
                result = await tool.call(prepared, await self._tool_context(call, number))
            except CaxtonError as error:
                if error.code not in ("denied", "tool_denied", "tool_failed", "timed_out"):
                    raise
                span.fail(error)
                return ToolResult(
                    content={"error": error.detail, "code": error.code, "hint": error.hint},
                    is_error=True,
                )
            finally:
                self._parts.counts.tool_s.observe((clock.now_ms() - began_at) / 1000)
            if result.is_error:
                span.fail("tool_failed")
        return result

    def _prepare(self, call: ToolCall, malformed: str | None) -> Mapping[str, Any] | ToolResult:
        """Return checked arguments, or the result that tells the model what is wrong."""
        spec = self._agent.spec
        if malformed is not None:
            return ToolResult(content={"error": malformed}, is_error=True)
        if call.name not in spec.tools:
            known = ", ".join(spec.tools) or "none"
            return ToolResult(
                content={"error": f"there is no tool {call.name!r}; the tools are: {known}"},
                is_error=True,
            )
        decision = decide_permission(
            call.name, agent=spec.name, listed=spec.tools, permissions=spec.permissions
        )
        if isinstance(decision, Refused):
            return ToolResult(content={"error": decision.error().detail}, is_error=True)
        schema = self._parts.tools.get(call.name).spec.parameters
        checked = check_arguments(schema, call.arguments)
        if checked.places:
            problems = [str(place) for place in checked.places]
            return ToolResult(
                content={"error": "the arguments are wrong", "errors": problems}, is_error=True
            )
        return checked.values

    async def _keep_result(self, number: int, call: ToolCall, result: ToolResult) -> ToolResult:
        counts = self._parts.counts
        counts.tool_calls += 1
        counts.tool_errors += result.is_error
        await self._recorder.finish(
            number, "tool", call.name, encode_result(result, dict(call.arguments))
        )
        self._context.show(
            "turn.tool_result",
            name=call.name,
            is_error=result.is_error,
            summary=_summary(result),
            step=number,
        )
        return result

    async def _tool_context(self, call: ToolCall, number: int) -> ToolContext:
        if self._artifacts is None:
            self._artifacts = await open_artifacts(
                self._agent.folder, self._message.conversation_id
            )
        spec = self._agent.spec
        left_ms = self._context.deadline_ms - self._parts.clock.now_ms()
        return ToolContext(
            agent=spec.name,
            conversation_id=self._message.conversation_id,
            message_id=self._message.id,
            effect_id=f"{self._message.id}/{number}",
            config=spec.tool_config.get(call.name, {}),
            permissions=spec.permissions,
            folder=self._agent.folder,
            artifacts=self._artifacts,
            outbox=self._context.step_outbox(number),
            timeout_s=max(0.0, left_ms / 1000),
            traceparent=self._context.traceparent,
        )

    async def _log_turn(self, level: str, text: str) -> None:
        text = f"{text} of {self._message.sender} (attempt {self._context.attempt})"[:LOG_TEXT_MAX]
        _log.log(LEVELS[level], "%s", text)
        await self._parts.store.put_log(
            self._agent.spec.name,
            [
                LogLine(
                    at=self._parts.clock.now_ms(),
                    level=level,
                    text=text,
                    conversation_id=self._message.conversation_id,
                )
            ],
        )
        self._context.show("agent.log", level=level, text=text)


def _summary(result: ToolResult) -> str:
    """Return the beginning of a result, for people who watch."""
    text = text_of(result.content)
    return text if len(text) <= SUMMARY_TEXT_MAX else f"{text[:SUMMARY_TEXT_MAX]} …"
