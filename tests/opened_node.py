"""A whole node without its edges, for tests: the real composition on a temporary folder."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from caxton_node.agentfile import AgentFormat
from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.domain.message import Message, encode_content
from caxton_node.domain.performatives import Performative
from caxton_node.routing.waiting import answer_within
from caxton_node.runtime.node import Node

ANSWER_TIMEOUT_S = 10.0


@asynccontextmanager
async def opened_node(folder: Path, **flags: Any) -> AsyncIterator[Node]:
    """Open a node whose data lie in `folder`; flags are settings such as `retry.attempts`."""
    keys = {name.replace("__", "."): value for name, value in flags.items()}
    loaded = load_settings(
        flags={
            "node.data_dir": str(folder),
            "python.allow": "tests.*",
            "limits.drain_timeout": "200ms",
            "retry.initial": "5ms",
        }
        | keys,
        environment={},
        working_dir=folder,
        home=folder,
    )
    async with open_node(loaded, environment=os.environ) as node:
        yield node


def python_agent(name: str, handler: str, *, capability: str = "test", more: str = "") -> str:
    """Return the definition of an agent whose class is in `tests.handlers`."""
    return (
        f'name = "{name}"\nkind = "python"\nhandler = "tests.handlers:{handler}"\n'
        f'capabilities = ["{capability}"]\n{more}'
    )


async def deploy(node: Node, source: str) -> None:
    """Deploy a TOML definition."""
    await node.deployments.deploy(source, AgentFormat.TOML)


def message(node: Node, **fields: Any) -> Message:
    """Build a request from `client`, with ids of its own."""
    content = fields.pop("content", "hello")
    return Message(
        **{
            "id": node.new_id("msg"),
            "performative": Performative.REQUEST,
            "sender": "client",
            "content": encode_content(content),
            "conversation_id": node.new_id("conv"),
            "created_at": node.clock.now_ms(),
        }
        | fields
    )


async def ask(node: Node, **fields: Any) -> Message:
    """Send a request and return the answer."""
    question = message(node, **fields)
    with node.answers.expect(question.sender, question.answers_go_under) as answer:
        await node.pipeline.send(question)
        return await answer_within(answer, ANSWER_TIMEOUT_S)
