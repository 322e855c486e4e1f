"""Several models, of which the first that answers is taken, and never silently.

Each model has had its own retries when the next one is asked. The reply says in
`metadata["fallback_from"]` who failed before, and how. Once a piece of text was shown to an
observer there is no next model: the observer would see the beginnings of two answers as one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from caxton_node.domain.errors import CaxtonError, Failed, TimedOut
from caxton_node.llm.model import OFFLINE, Model, ModelReply, ModelRequest, OnDelta

__all__ = ["FallbackModel"]


class FallbackModel:
    """Tries its models in turn.

    The request's time is for all of them: each gets an equal share of what is left, so that a
    model which hangs does not take the next one's chance. The offline provider needs no time and
    gets no share.

    Args:
        models: At least one, each with its name, in the order of preference.
        time_s: A monotonic clock, in seconds; the event loop's by default.
    """

    def __init__(
        self,
        models: Sequence[tuple[str, Model]],
        *,
        time_s: Callable[[], float] | None = None,
    ) -> None:
        assert models, "an empty chain cannot answer"
        self._models = tuple(models)
        self._time_s = time_s

    @property
    def provider(self) -> str:
        """The provider of the first model; a reply names the one that answered."""
        return self._models[0][1].provider

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Return the first reply.

        Raises:
            Failed: The last model's error, with the earlier ones in its facts.
            TimedOut: Likewise.
        """
        time_s = self._time_s or asyncio.get_running_loop().time
        ends_at = time_s() + request.timeout_s
        has_shown = False

        def show(text: str) -> None:
            nonlocal has_shown
            has_shown = True
            if on_delta is not None:
                on_delta(text)

        failed: list[dict[str, Any]] = []
        last = len(self._models) - 1
        for index, (name, model) in enumerate(self._models):
            share_s = max(0.0, ends_at - time_s()) / self._sharers(index)
            # A request's own model name is meant for the first; the others know theirs.
            asked = replace(request, timeout_s=share_s, model=request.model if index == 0 else None)
            try:
                reply = await model.complete(asked, None if on_delta is None else show)
            except (Failed, TimedOut) as error:
                if index == last or has_shown:
                    if failed:
                        error.facts["fallback_from"] = failed
                    raise
                failed.append(_failure(name, model, error))
            else:
                if not failed:
                    return reply
                return replace(reply, metadata={**reply.metadata, "fallback_from": failed})
        raise AssertionError("the last model returns or raises")

    async def close(self) -> None:
        """Close every model, also when one of them fails to."""
        errors: list[Exception] = []
        for _, model in self._models:
            try:
                await model.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("models did not close", errors)

    def _sharers(self, index: int) -> int:
        rest = self._models[index:]
        return max(1, sum(model.provider != OFFLINE for _, model in rest))


def _failure(name: str, model: Model, error: CaxtonError) -> dict[str, Any]:
    return {
        "provider": model.provider,
        "model": name,
        "error": error.code,
        "detail": error.detail,
    }
