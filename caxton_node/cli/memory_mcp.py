"""`caxton memory mcp`: a node's memory as an MCP server, for any program that speaks MCP on a pipe.

A program of the user's (an editor, a chat, another framework's agent) starts the command and gets
tools to search, remember, relate, walk, forget and to fill a prompt. Each call is one request to
the node's API, with what the command line uses to reach it: so it may what the user may, and
nothing more. With `--agent` or `--scope` the tools work there and cannot be led elsewhere.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final

from caxton import __version__
from caxton_node.cli.client import Client, connect, path_of
from caxton_node.cli.mcp_stdio import LINE_BYTES_MAX, McpTool, ToolServer
from caxton_node.cli.memory import whose
from caxton_node.cli.memory_move import memory
from caxton_node.cli.session import Session, pass_session

__all__ = ["mcp", "memory", "memory_tools", "serve"]

CONTEXT_CANDIDATES: Final = 50
CONTEXT_TOKENS: Final = 800
CONTEXT_TOKENS_MAX: Final = 20_000
CHARACTERS_A_TOKEN: Final = 3
"""Of English there are four; fewer are reckoned, so that what is promised to fit does."""

INSTRUCTIONS: Final = (
    "What agents know, kept across conversations. Search before answering; remember facts, "
    "preferences and solutions as one sentence each; a fact with an attribute replaces the older "
    "one of the same attribute."
)

Arguments = Mapping[str, Any]

Ask = Callable[[str, Arguments], dict[str, Any]]
"""Sends what a tool was given to a path of the API, and returns the answer."""

_TEXT: Final = {"type": "string", "minLength": 1}


@memory.command("mcp")
@whose
@pass_session
def mcp(session: Session, agent: str | None, scope: str | None) -> None:
    """Offer memory to a program that speaks MCP on standard input and output."""
    tools = memory_tools(connect(session), agent, scope)
    server = ToolServer("caxton-memory", __version__, tools, instructions=INSTRUCTIONS)
    serve(server, sys.stdin.buffer, sys.stdout.buffer)


def serve(server: ToolServer, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer line by line until the other side closes."""
    while line := requests.readline(LINE_BYTES_MAX + 1):
        answer = server.answer(line)
        while len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = requests.readline(LINE_BYTES_MAX + 1)  # the rest of what is too long
        if answer is not None:
            answers.write(answer)
            answers.flush()


def memory_tools(client: Client, agent: str | None, scope: str | None) -> list[McpTool]:
    """Return the tools for a node's memory.

    Args:
        client: Of the node.
        agent: Whose memory; None is what all share.
        scope: The only part of it.
    """
    whose_memory = {"agent": agent, "scope": scope}

    def read(path: str, asked: Arguments) -> dict[str, Any]:
        return dict(client.get(path, {**asked, **whose_memory}))

    def write(path: str, told: Arguments) -> dict[str, Any]:
        return dict(client.call("POST", path, body={**told, **whose_memory}))

    return [*_reading_tools(read), *_writing_tools(write)]


def _reading_tools(read: Ask) -> list[McpTool]:
    def graph(asked: Arguments) -> dict[str, Any]:
        rest = {name: value for name, value in asked.items() if name != "entity"}
        return read(path_of("memory", "graph", asked["entity"]), rest)

    def context(asked: Arguments) -> dict[str, Any]:
        found = read(
            path_of("memory", "search"), {"query": asked["query"], "limit": CONTEXT_CANDIDATES}
        )
        tokens = min(asked.get("max_tokens", CONTEXT_TOKENS), CONTEXT_TOKENS_MAX)
        return {"text": prompt_part(found, budget_tokens=tokens)}

    return [
        McpTool(
            name="memory_search",
            description="Find what fits a question, by meaning, by words and by relations.",
            properties={
                "query": _TEXT,
                "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                "history": {"type": "boolean", "description": "Also what is no longer true."},
            },
            required=("query",),
            call=lambda asked: read(path_of("memory", "search"), asked),
            is_read_only=True,
        ),
        McpTool(
            name="memory_context",
            description="What is known about a question, as lines for a prompt, best first.",
            properties={
                "query": _TEXT,
                "max_tokens": {"type": "integer", "minimum": 50, "maximum": CONTEXT_TOKENS_MAX},
            },
            required=("query",),
            call=context,
            is_read_only=True,
        ),
        McpTool(
            name="memory_graph",
            description="Walk the relations from an entity, nearest and strongest first.",
            properties={
                "entity": _TEXT,
                "depth": {"type": "integer", "minimum": 0, "maximum": 10},
                "type": {"type": "string", "description": "Only relations of this type."},
            },
            required=("entity",),
            call=graph,
            is_read_only=True,
        ),
    ]


def _writing_tools(write: Ask) -> list[McpTool]:
    return [
        McpTool(
            name="memory_remember",
            description="Remember sentences about somebody or something.",
            properties={
                "entity": {**_TEXT, "description": "Whom or what they are about."},
                "observations": {"type": "array", "items": _TEXT, "minItems": 1},
                "type": {"type": "string", "description": "Of the entity: person, project, …"},
                "attribute": {
                    "type": "string",
                    "description": "What they say of it (home, role); replaces what was said.",
                },
                "ttl_s": {"type": "number", "description": "Seconds after which it is deleted."},
                "pinned": {"type": "boolean", "description": "Never let it decay."},
            },
            required=("entity", "observations"),
            call=lambda told: write(path_of("memory", "entities"), told),
        ),
        McpTool(
            name="memory_relate",
            description="Remember how two entities are related. Unknown ones are made.",
            properties={
                "source": _TEXT,
                "target": _TEXT,
                "type": {**_TEXT, "description": "Such as owns, works_for."},
                "strength": {"type": "number", "minimum": 0, "maximum": 1},
            },
            required=("source", "target", "type"),
            call=lambda told: write(path_of("memory", "relations"), told),
        ),
        McpTool(
            name="memory_forget",
            description="Delete for good all that is known of an entity, and prove it.",
            properties={"entity": _TEXT},
            required=("entity",),
            call=lambda asked: write(path_of("memory", "forget"), asked),
            is_destructive=True,
        ),
    ]


def prompt_part(found: Mapping[str, Any], *, budget_tokens: int) -> str:
    """Return as much of what a search found as fits, a line each, best first. Pure."""
    room = budget_tokens * CHARACTERS_A_TOKEN
    lines: dict[str, None] = {}
    for item in found["items"]:
        one = item["observation"]
        about = "" if one["entity"].casefold() in one["text"].casefold() else f"{one['entity']}: "
        line = f"- {about}{' '.join(one['text'].split())} (since {one['valid_from'][:10]})"
        if line not in lines and len(line) < room:
            lines[line] = None
            room -= len(line) + 1
    return "\n".join(lines)
