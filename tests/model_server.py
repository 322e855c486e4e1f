"""A model endpoint on loopback that says what a test wrote down. Speaks the OpenAI wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
Script = Callable[[dict[str, Any]], dict[str, Any]]


def says(text: str) -> dict[str, Any]:
    """A reply of text."""
    return {"content": text}


def calls(name: str, **arguments: Any) -> dict[str, Any]:
    """A reply that wants a tool called."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}


class ModelServer:
    """Answers the n-th request with the n-th reply; the last one is repeated."""

    def __init__(self, *replies: dict[str, Any] | Script) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        """Of the requests, names in lower case."""
        self.hold: asyncio.Event | None = None
        """Set it to an event to keep answers back until it is set."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if callable(reply):
            reply = reply(body)
        if not body.get("stream"):
            return web.json_response(self.whole(reply))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(delta: dict[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            await self.send(response, choices=[choice])

        words = (reply.get("content") or "").split(" ")
        await send({"role": "assistant", "content": words[0]})
        if self.hold is not None:
            await self.hold.wait()
        for word in words[1:]:
            await send({"content": f" {word}"})
        if "tool_calls" in reply:
            await send({"tool_calls": reply["tool_calls"]})
        await send({}, "tool_calls" if "tool_calls" in reply else "stop")
        await self.send(response, choices=[], usage=USAGE)
        await response.write(b"data: [DONE]\n\n")
        return response

    def whole(self, reply: dict[str, Any]) -> dict[str, Any]:
        """The answer to who does not want it in pieces."""
        message = {"role": "assistant"} | reply
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "test",
            "choices": [choice],
            "usage": USAGE,
        }

    async def send(self, response: web.StreamResponse, **fields: Any) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "test"}
        await response.write(f"data: {json.dumps(chunk | fields)}\n\n".encode())


@asynccontextmanager
async def model_server(*replies: dict[str, Any] | Script) -> AsyncIterator[ModelServer]:
    """Serve `replies` until the context ends."""
    server = ModelServer(*replies)
    application = web.Application()
    application.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
