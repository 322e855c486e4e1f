"""`message_client`: speak to another agent, by name or by what it can do."""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError, Denied, TimedOut
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import ANSWERABLE, NEGATIVE, Performative
from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.media import INLINE_BYTES_MAX
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes
from caxton_node.tools.tool import ToolContext

__all__ = ["MessageClient"]

TIMEOUT_S: Final = 60.0
SHARE_OF_TURN: Final = 0.9
"""Of the turn's remaining time: when the other is silent, something must be left to say so."""


class MessageClient:
    """Sends through the agent's `Outbox`."""

    spec = ToolSpec(
        name="message_client",
        description=(
            "Send a message to another agent, named by `receiver` or chosen by `capability`. A "
            "request or query waits for the answer and returns it; an inform is only sent."
        ),
        parameters={
            "type": "object",
            "properties": {
                "receiver": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 256,
                    "description": "Name of the agent.",
                },
                "capability": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 256,
                    "description": "Instead of a name: what the agent must offer.",
                },
                "performative": {
                    "type": "string",
                    "enum": ["request", "query_ref", "query_if", "cfp", "propose", "inform"],
                    "default": "request",
                    "description": "The communicative act.",
                },
                "content": {"description": "What to say: a text or any JSON value."},
                "timeout_s": {
                    "type": "number",
                    "minimum": 0.1,
                    "maximum": 3_600,
                    "description": "How long to wait for the answer, in seconds.",
                },
            },
            "required": ["content"],
            "x-exactly-one-of": ["receiver", "capability"],
            "additionalProperties": False,
        },
        produces=("application/json",),
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Send, and wait where the act asks for an answer."""
        act = Performative(arguments.get("performative", "request"))
        receiver, capability = arguments.get("receiver", ""), arguments.get("capability")
        content = arguments["content"]
        try:
            if act not in ANSWERABLE:
                message_id = await context.outbox.tell(
                    receiver=receiver, capability=capability, performative=act, content=content
                )
                return ToolResult(content={"sent": True, "message_id": message_id})
            wanted_s = arguments.get("timeout_s", TIMEOUT_S)
            answer = await context.outbox.ask(
                receiver=receiver,
                capability=capability,
                performative=act,
                content=content,
                timeout_s=min(wanted_s, context.timeout_s * SHARE_OF_TURN),
            )
        except Denied:
            raise
        except TimedOut as error:
            raise Mistake("There was no answer in time.", code=error.code) from error
        except CaxtonError as error:
            raise Mistake(error.detail, hint=error.hint, code=error.code) from error
        return await _report(answer, context)


async def _report(answer: Message, context: ToolContext) -> ToolResult:
    content: dict[str, Any] = {
        "performative": answer.performative.value,
        "sender": answer.sender,
        "message_id": answer.id,
    }
    is_error = answer.performative in NEGATIVE
    if is_error:
        content["error"] = f"{answer.sender} answered {answer.performative.value}."
    if len(answer.content) <= INLINE_BYTES_MAX:
        return ToolResult(content=content | {"content": answer.body()}, is_error=is_error)
    artifact = await context.artifacts.put(
        name=f"answer-of-{answer.sender}.json",
        media_type="application/json",
        data=answer.content,
    )
    preview = answer.content[:INLINE_BYTES_MAX].decode("utf-8", "replace")
    return ToolResult(
        content=content | kept(artifact) | {"preview": preview},
        is_error=is_error,
        artifacts=(artifact,),
    )
