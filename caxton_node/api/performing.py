"""How an endpoint of the table is carried out, whoever asks: here, or on the node that has it.

REST, gRPC and other nodes come here with what they want, read and checked. Whatever concerns an
agent that another node has is asked of that node; what is named by an id that is unknown here is
asked of all others. What came from another node is never handed on.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from caxton_node.api.table import Endpoint, Request, Result
from caxton_node.domain.errors import CaxtonError, NotFound, TimedOut, Unavailable
from caxton_node.runtime.door import Ask, Going, Others, Whole
from caxton_node.runtime.node import Node

__all__ = ["ask_holder", "perform"]

ASKED_AT_ONCE_MAX: Final = 16
"""Nodes that are asked for the same thing at once."""

MOVES_MAX: Final = 3
"""How often an agent is sought again that was not where it was said to be."""

NEWS_S: Final = 0.1
"""How long the news of a moved agent may take before it is sought again."""

ASK_AROUND_S: Final = 5.0
"""How long a node may take to say whether it knows an id."""


async def perform(
    endpoint: Endpoint, request: Request[Any, Any], ask: Ask, node: Node
) -> Result | Whole | Going:
    """Carry out an endpoint within its deadline.

    Args:
        endpoint: What is asked.
        request: As the handler gets it.
        ask: The same, as another node would get it.
        node: This one.

    Raises:
        CaxtonError: Whatever goes wrong; `node_draining`; `timed_out`.
    """
    is_change = endpoint.method != "GET" and not endpoint.is_while_draining
    if is_change and node.pipeline.is_draining:
        raise Unavailable("node_draining", "this node is stopping", hint="Ask another node.")
    try:
        async with asyncio.timeout(endpoint.deadline_s) as deadline:
            return await _here_or_there(endpoint, request, ask, node)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise TimedOut("timed_out", f"this took longer than {endpoint.deadline_s:g} s") from None


async def _here_or_there(
    endpoint: Endpoint, request: Request[Any, Any], ask: Ask, node: Node
) -> Result | Whole | Going:
    others = request.edge.others
    if endpoint.belongs_to == "named" and not ask.is_from_node:
        wanted = request.query.node
        if wanted not in (None, node.name):
            if others is None or wanted not in others.peers():
                raise NotFound("node_not_found", f"no live node is called {wanted!r}")
            return await others.ask(wanted, ask)
        return await endpoint.handle(request, node)
    if others is None or ask.is_from_node or endpoint.belongs_to == "node":
        return await endpoint.handle(request, node)
    if endpoint.belongs_to == "agent":
        name = request.path["name"]
        found = await ask_holder(
            others, name, ask, is_here=lambda: node.roster.find(name) is not None
        )
        return found if found is not None else await endpoint.handle(request, node)
    try:
        return await endpoint.handle(request, node)
    except NotFound as missing:
        found = await _ask_around(others, ask, missing.code)
        if found is None:
            raise
        return found


async def ask_holder(
    others: Others, agent: str, ask: Ask, *, is_here: Callable[[], bool]
) -> Whole | Going | None:
    """Return the answer of the node that has an agent; None where this one is to answer.

    An agent that has just moved is not where it was, and the news is on its way: whoever did not
    find it has done nothing, so that another may be asked.

    Raises:
        CaxtonError: What that node said; `unreachable`, `timed_out`.
    """
    for moves_left in reversed(range(MOVES_MAX + 1)):
        holder = None if is_here() else others.holder(agent)
        if holder is None:
            return None
        try:
            return await others.ask(holder, ask)
        except NotFound as gone:
            if gone.code != "agent_not_found" or not moves_left:
                raise
        await asyncio.sleep(NEWS_S)
    raise AssertionError("the last one asked answered or raised")


async def _ask_around(others: Others, ask: Ask, code: str) -> Whole | Going | None:
    """Return the first answer of a node that knows what this one does not."""
    peers = others.peers()
    # Two nodes may know a message. What changes something is asked of one after the other.
    at_once = ASKED_AT_ONCE_MAX if ask.method == "GET" else 1
    for start in range(0, len(peers), at_once):
        answer = await _ask_some(others, peers[start : start + at_once], ask, code)
        if isinstance(answer, CaxtonError):
            # That a node knows it and cannot do it is an answer too.
            raise answer
        if answer is not None:
            return answer
    return None


async def _ask_some(
    others: Others, peers: Sequence[str], ask: Ask, code: str
) -> Whole | Going | CaxtonError | None:
    """Return the first answer, without waiting for those that hang; else the first refusal."""

    async def one(peer: str) -> Whole | Going | CaxtonError:
        try:
            async with asyncio.timeout(ASK_AROUND_S):
                return await others.ask(peer, ask)
        except CaxtonError as error:
            return error
        except TimeoutError:
            return Unavailable("unreachable", f"the node {peer} does not answer")

    refusal: CaxtonError | None = None
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(peer)) for peer in peers]
        for earliest in asyncio.as_completed(asked):
            answer = await earliest
            if not isinstance(answer, CaxtonError):
                for task in asked:
                    task.cancel()
                return answer
            if refusal is None and answer.code not in (code, "unreachable"):
                refusal = answer
    return refusal
