"""The state of agents in WebAssembly, kept where their node keeps keys and values.

A state is written some time after it changed, and read when the agent is built: after a restart
of the node it goes on from there.
"""

import asyncio
import logging
from typing import Final

import msgspec

from caxton_node.wasm.box import Snapshot
from caxton_node.wasm.kv import KeyValueStore

__all__ = ["StateKeeper", "agent_owner", "forget_state", "keep_state", "kept_state"]

OWNER: Final = "(state)"
"""No agent and no server can be called so."""

STATE_BYTES_MAX: Final = 1_000_000_000
"""Of all agents of the node. One state is bounded by what a guest may return."""

_log = logging.getLogger("caxton.wasm")


class _Kept(msgspec.Struct):
    version: str
    state: msgspec.Raw


class StateKeeper:
    """Keeps the state of an agent as its guest gives it, while that is the one in force.

    Args:
        agent: Whose it is.
        version: That gives it.
        kv: Where it is kept.
        tasks: Owns the writing.
    """

    def __init__(
        self, agent: str, version: str, kv: KeyValueStore, tasks: asyncio.TaskGroup
    ) -> None:
        self.is_silent = False
        """What is given is not the state of the agent."""
        self._agent = agent
        self._version = version
        self._kv = kv
        self._tasks = tasks

    def keep(self, state: bytes) -> None:
        """Write a state, soon."""
        if not self.is_silent:
            snapshot = Snapshot(state, self._version)
            self._tasks.create_task(keep_state(self._kv, self._agent, snapshot))


async def keep_state(kv: KeyValueStore, agent: str, snapshot: Snapshot) -> None:
    """Write the state of an agent. What goes wrong is logged: the next one may go well."""
    document = msgspec.json.encode(_Kept(snapshot.version, msgspec.Raw(snapshot.state)))
    try:
        await kv.set(OWNER, agent, document, room_bytes=STATE_BYTES_MAX)
    except OSError as error:
        _log.error("the state of %s is not on disk: %s", agent, error)


async def kept_state(kv: KeyValueStore, agent: str) -> Snapshot | None:
    """Return the state of an agent, None when there is none that can be read."""
    try:
        data = await kv.get(OWNER, agent)
        if data is None:
            return None
        kept = msgspec.json.decode(data, type=_Kept)
    except (OSError, msgspec.DecodeError) as error:
        _log.error("the state of %s cannot be read: %s", agent, error)
        return None
    return Snapshot(bytes(kept.state), kept.version)


async def forget_state(kv: KeyValueStore, agent: str) -> None:
    """Forget the state of an agent, and its keys and values."""
    await kv.delete(OWNER, agent)
    await kv.forget(agent_owner(agent))


def agent_owner(agent: str) -> str:
    """Return under which name an agent's keys and values are kept."""
    return f"agent/{agent}"
