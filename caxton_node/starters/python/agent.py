"""An agent that counts, and goes on counting after a restart or a new version.

What it may import of the host is in wit/host.wit, for instance `from wit_world.imports import kv`.
Import at the top: within a call there are no files to import from.
"""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import types

__all__ = ["WitWorld"]


class WitWorld(wit_world.WitWorld):
    """Exports of the world `stateful-agent`."""

    def __init__(self) -> None:
        self.count = 0

    def handle_message(self, message: str) -> str | None:
        """Answer `{"add": 2}`, or anything else as if it were `{"add": 1}`."""
        content = json.loads(message)["content"]
        step = content.get("add", 1) if isinstance(content, dict) else 1
        if not isinstance(step, int):
            raise Err(types.Error("invalid_arguments", "`add` must be a whole number"))
        self.count += step
        return json.dumps({"content": {"count": self.count}})

    def snapshot(self) -> str:
        """Return the state that a newer version, or this one after a restart, goes on from."""
        return json.dumps({"count": self.count})

    def restore(self, state: str, from_version: str) -> None:
        """Go on from a snapshot."""
        self.count = json.loads(state)["count"]
