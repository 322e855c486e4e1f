"""A model whose replies were written beforehand: for tests of agents, ours and their authors'.

It stands where a real model would stand, so everything around it (prompts, tools, budgets,
streams) runs for real. It keeps what it was asked, and it fails when it is asked more often than
its script foresaw: a test that passes on a made-up reply proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from caxton_node.domain.errors import CaxtonError, Failed
from caxton_node.domain.tool import ToolCall
from caxton_node.llm.estimate import estimate_usage
from caxton_node.llm.model import ModelReply, ModelRequest, OnDelta, Usage

__all__ = ["Reply", "ScriptedModel"]

PROVIDER: Final = "scripted"

REQUEST_COUNT_MAX: Final = 10_000
"""How many requests are kept; more is a test that runs in a circle."""

Reply = ModelReply | ToolCall | CaxtonError | str
"""A reply in full; or one call of a tool; or an error to raise; or just the text."""


class ScriptedModel:
    """Replies in order, or by a function of the request.

    Args:
        script: The replies, or a function that returns one for each request.
        model: The name that replies carry when they carry none.
    """

    def __init__(
        self,
        script: Sequence[Reply] | Callable[[ModelRequest], Reply],
        *,
        model: str = "scripted",
    ) -> None:
        assert not isinstance(script, str), "a script is a list of replies"
        self._script = script
        self._model = model
        self._requests: list[ModelRequest] = []

    @property
    def provider(self) -> str:
        """Always `scripted`."""
        return PROVIDER

    @property
    def requests(self) -> tuple[ModelRequest, ...]:
        """What it was asked, in order."""
        return tuple(self._requests)

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Return the next reply, its text in deltas of one word each.

        Raises:
            Failed: `model_failed`, when the script has no more replies.
            CaxtonError: Whatever the script holds.
        """
        reply = self._reply(request)
        if isinstance(reply, CaxtonError):
            raise reply
        if on_delta is not None:
            for word in _words(reply.text):
                on_delta(word)
        return reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _reply(self, request: ModelRequest) -> ModelReply | CaxtonError:
        index = len(self._requests)
        if index >= REQUEST_COUNT_MAX:
            return Failed("model_failed", f"The script was asked more than {index} times.")
        self._requests.append(request)
        if callable(self._script):
            planned = self._script(request)
        elif index < len(self._script):
            planned = self._script[index]
        else:
            return Failed(
                "model_failed",
                f"The script has {len(self._script)} replies, and this is request {index + 1}.",
                hint="Add a reply to the script, or find out why the agent asks once more.",
            )
        match planned:
            case CaxtonError():
                return planned
            case str():
                planned = ModelReply(text=planned)
            case ToolCall():
                planned = ModelReply(tool_calls=(planned,), finish_reason="tool_calls")
            case ModelReply():
                pass
        usage = planned.usage
        if usage == Usage():
            usage = estimate_usage(request, planned.text, planned.tool_calls)
        return replace(
            planned,
            usage=usage,
            provider=planned.provider or PROVIDER,
            model=planned.model or self._model,
        )


def _words(text: str) -> list[str]:
    """Cut after each blank, so that the pieces together are the text."""
    pieces = text.split(" ")
    return [piece + " " for piece in pieces[:-1]] + [piece for piece in pieces[-1:] if piece]
