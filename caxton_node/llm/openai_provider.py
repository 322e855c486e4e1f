"""Any endpoint that speaks OpenAI's Chat Completions, through the official SDK.

The shell around `openai_wire` and `openai_errors`: it sends, waits, tries again and gives up.
All attempts together stay within `request.timeout_s`. What may pass is tried again with growing,
jittered waits or when the endpoint says; once a piece of text was shown to an observer nothing
is tried again, because the observer would see the beginning twice.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import stamina

from caxton_node.domain.errors import Failed, TimedOut
from caxton_node.domain.trace_headers import with_trace
from caxton_node.llm.model import ModelReply, ModelRequest, OnDelta
from caxton_node.llm.openai_clients import Endpoint, OpenAiClients
from caxton_node.llm.openai_errors import EndpointFailed, redacted, retry_after_s, status_failed
from caxton_node.llm.openai_wire import ReplyAssembly, WireNames, wire_request

__all__ = ["OpenAiModel", "RetrySettings"]

PROVIDER: Final = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How a call that failed is tried again."""

    retry_count_max: int = 2
    wait_initial_s: float = 0.5
    """Doubled at every attempt, plus up to `wait_jitter_s`."""
    wait_max_s: float = 8.0
    wait_jitter_s: float = 0.5


class OpenAiModel:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        endpoint: Address and key.
        model: Name of the model where a request names none.
        clients: Where connections are shared.
        retry: How often and how patiently.
        time_s: Time of day in seconds since 1970, to read a date in `Retry-After`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str,
        clients: OpenAiClients,
        retry: RetrySettings | None = None,
        time_s: Callable[[], float] = time.time,
    ) -> None:
        assert model, "a model has a name; `choose_model` checks it"
        self._endpoint = endpoint
        self._model = model
        self._clients = clients
        self._retry = retry or RetrySettings()
        self._time_s = time_s
        self._client: Any = None
        self._acquiring = asyncio.Lock()

    def __repr__(self) -> str:
        return f"OpenAiModel({self._model!r} at {self._endpoint.base_url!r})"

    @property
    def provider(self) -> str:
        """Always `openai`, whoever runs the endpoint."""
        return PROVIDER

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Call the model once; stream if somebody watches.

        Raises:
            Failed: `model_failed`, with a hint what to check.
            TimedOut: `timed_out`.
        """
        try:
            async with asyncio.timeout(request.timeout_s) as deadline:
                return await self._with_retries(request, on_delta, deadline)
        except TimeoutError:
            # Nothing of the SDK is chained: its errors hold the request, and so the key.
            raise TimedOut(
                "timed_out",
                f"The model {request.model or self._model!r} did not answer within "
                f"{request.timeout_s:g} s.",
                hint="Raise `timeout` in [llm], or name a faster model in `fallback`.",
            ) from None

    async def close(self) -> None:
        """Give the connections back. A later call would open them again."""
        async with self._acquiring:
            if self._client is not None:
                self._client = None
                await self._clients.release(self._endpoint)

    async def _with_retries(
        self, request: ModelRequest, on_delta: OnDelta | None, deadline: asyncio.Timeout
    ) -> ModelReply:
        def next_wait(error: Exception) -> bool | float:
            if not isinstance(error, EndpointFailed) or not error.is_transient:
                return False
            if error.wait_s is None:
                return True
            # Waiting beyond the deadline would only trade a clear error for a late one.
            ends_at = deadline.when()
            now = asyncio.get_running_loop().time()
            return False if ends_at is None or now + error.wait_s >= ends_at else error.wait_s

        attempts = stamina.retry_context(
            on=next_wait,
            attempts=1 + self._retry.retry_count_max,
            timeout=None,
            wait_initial=self._retry.wait_initial_s,
            wait_max=self._retry.wait_max_s,
            wait_jitter=self._retry.wait_jitter_s,
        )
        async for attempt in attempts:
            with attempt:
                return await self._attempt(request, on_delta)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: ModelRequest, on_delta: OnDelta | None) -> ModelReply:
        client = await self._connected()
        names = WireNames([tool.name for tool in request.tools])
        body = wire_request(
            request,
            model=self._model,
            base_url=self._endpoint.base_url,
            names=names,
            is_stream=on_delta is not None,
        )
        headers: dict[str, Any] = dict(with_trace({}, request.traceparent))
        if not self._endpoint.api_key:
            headers["Authorization"] = _omit()
        if headers:
            body["extra_headers"] = headers
        assembly = ReplyAssembly(names)
        watched = _Watched(on_delta)
        failure: Failed | None = None
        try:
            if on_delta is None:
                answer = await client.chat.completions.create(**body)
                assembly.take(self._checked(answer), part="message")
            else:
                await self._stream(client, body, assembly, watched)
        except Failed as error:
            failure = error
        except Exception as error:
            failure = self._translated(error, request)
            if failure is None:
                raise
        if failure is None:
            return assembly.reply(request, provider=PROVIDER, model=self._model)
        if isinstance(failure, EndpointFailed) and watched.has_shown:
            failure.is_transient = False
        # Raised here, outside the handler, so that the SDK's error is not its context either.
        raise failure

    async def _stream(
        self, client: Any, body: dict[str, Any], assembly: ReplyAssembly, watched: "_Watched"
    ) -> None:
        stream = await client.chat.completions.create(**body)
        if not hasattr(stream, "__aiter__"):
            raise self._no_endpoint()
        async with stream:
            async for chunk in stream:
                watched.show(assembly.take(self._checked(chunk), part="delta"))
        if not assembly.is_finished:
            raise EndpointFailed(
                "The model endpoint closed the stream before the reply was complete.",
                hint="The fault is at the endpoint or at a proxy before it; try again.",
                is_transient=True,
            )

    async def _connected(self) -> Any:
        async with self._acquiring:
            if self._client is None:
                self._client = await self._clients.acquire(self._endpoint)
            return self._client

    def _checked(self, answer: Any) -> Mapping[str, Any]:
        """Return an answer or a chunk as plain values; the SDK passes on what is neither."""
        if not hasattr(answer, "model_dump"):
            raise self._no_endpoint()
        plain: Mapping[str, Any] = answer.model_dump(warnings=False)
        if not isinstance(plain.get("choices"), list):
            raise self._no_endpoint()
        return plain

    def _no_endpoint(self) -> EndpointFailed:
        return EndpointFailed(
            "What answered is not an OpenAI-compatible endpoint.",
            hint=f"Check `base_url` ({self._endpoint.base_url}), which often ends in /v1.",
        )

    def _translated(self, error: Exception, request: ModelRequest) -> Failed | None:
        """Return our error for one of the SDK's, or None for what is not of the world."""
        import httpx2  # noqa: PLC0415 - comes with the SDK, which was imported when first needed
        import openai  # noqa: PLC0415 - see `openai_clients`

        base_url = self._endpoint.base_url
        key = self._endpoint.api_key
        match error:
            case openai.APIStatusError():
                failure = status_failed(
                    error.status_code,
                    error.body,
                    model=request.model or self._model,
                    base_url=base_url,
                    api_key=key,
                )
                failure.wait_s = retry_after_s(error.response.headers, now_s=self._time_s())
                return failure
            case openai.APIConnectionError() | httpx2.TransportError():
                cause = error.__cause__ or error
                why = redacted(str(cause), key) or type(cause).__name__
                return EndpointFailed(
                    f"The model endpoint cannot be reached: {why}.",
                    hint=f"Check `base_url` ({base_url}) and that the endpoint is running.",
                    is_transient=True,
                )
            case openai.APIResponseValidationError() | ValueError():
                # ValueError: JSON of the answer, or of an event, that cannot be parsed.
                return self._no_endpoint()
            case openai.APIError():
                return EndpointFailed(
                    f"The model endpoint reported an error: {redacted(error.message, key)}",
                    hint="The fault is at the endpoint; try again later or name a `fallback`.",
                    is_transient=True,
                )
            case openai.OpenAIError() | httpx2.HTTPError() | httpx2.InvalidURL():
                return EndpointFailed(
                    f"The model endpoint cannot be called: {redacted(str(error), key)}",
                    hint=f"Check `base_url` ({base_url}).",
                )
            case _:
                return None


class _Watched:
    """Passes text on to the observer, and remembers that it did."""

    def __init__(self, on_delta: OnDelta | None) -> None:
        self._on_delta = on_delta
        self.has_shown = False

    def show(self, text: str) -> None:
        if text and self._on_delta is not None:
            self.has_shown = True
            self._on_delta(text)


def _omit() -> Any:
    import openai  # noqa: PLC0415 - see `openai_clients`

    return openai.Omit()
