"""What a call came to, in the shapes that every tool of ours uses.

A result is a JSON object. Where data was kept, `artifact` and `media_type` stand at its top
level, so that the next call can be built from it. A mistake that a model can mend is raised as
`Mistake` wherever it is found and reported once, at the edge of the tool.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

from caxton_node.domain.errors import Failed
from caxton_node.domain.tool import Artifact, ToolResult

__all__ = ["Mistake", "kept", "reports_mistakes", "shortened"]

TEXT_LENGTH_MAX: Final = 200
"""Of a cell or an excerpt that is shown to a model."""

Parameters = ParamSpec("Parameters")
Call = Callable[Parameters, Coroutine[Any, Any, ToolResult]]


class Mistake(Exception):
    """Something that the model which called a tool can mend.

    Attributes:
        detail: What is wrong, as a sentence.
        hint: What to do about it.
        facts: Further keys of the result.
    """

    def __init__(self, detail: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.facts = facts

    def result(self) -> ToolResult:
        """Return it as a tool reports it."""
        hint = {"hint": self.hint} if self.hint else {}
        return ToolResult(content={"error": self.detail} | hint | self.facts, is_error=True)


def reports_mistakes(call: Call[Parameters]) -> Call[Parameters]:
    """Turn a `Mistake`, or `tool_failed` of the artifacts, into a result with `is_error`."""

    @functools.wraps(call)
    async def reporting(*args: Parameters.args, **kwargs: Parameters.kwargs) -> ToolResult:
        try:
            return await call(*args, **kwargs)
        except Mistake as mistake:
            return mistake.result()
        except Failed as error:
            if error.code != "tool_failed":
                raise
            return Mistake(error.detail, hint=error.hint).result()

    return reporting


def kept(artifact: Artifact) -> dict[str, Any]:
    """Return the keys by which a result names what was kept."""
    return {
        "artifact": artifact.handle,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
    }


def shortened(value: Any, length_max: int = TEXT_LENGTH_MAX) -> Any:
    """Return `value`, or its beginning with `…` if it is a longer text."""
    if isinstance(value, str) and len(value) > length_max:
        return value[: length_max - 1] + "…"
    return value
