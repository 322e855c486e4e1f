"""`state_tool`: what an agent has to know exactly and again: a counter, a checkpoint, a setting.

Memory finds what is alike; this returns what was put there, under the key it was put under.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.outcome import Mistake, reports_mistakes
from caxton_node.tools.states import KEY_LENGTH_MAX, StateError, StateLimits, States
from caxton_node.tools.tool import ToolContext

__all__ = ["StateTool"]

FILE_NAME: Final = "state.db"
LISTED_MAX: Final = 200
AT_ONCE_MAX: Final = 100

_KEY: Final = {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX}


class StateTool:
    """Keeps values under keys.

    Args:
        limits: How much an agent may keep.
    """

    spec = ToolSpec(
        name="state_tool",
        description=(
            "The agent's own durable state, JSON values under keys such as checkpoints/latest. "
            "store and retrieve one value; batch_store and batch_retrieve several, all or none; "
            "exists; delete; list the keys that begin with a prefix."
        ),
        parameters={
            "type": "object",
            "properties": {
                "action": {
                    "type": "string",
                    "enum": [
                        "store", "retrieve", "delete", "list", "exists", "batch_store",
                        "batch_retrieve",
                    ],
                    "description": "What to do.",
                },
                "key": _KEY | {"description": "For store, retrieve, delete and exists."},
                "value": {"description": "For store: any JSON value."},
                "prefix": {
                    "type": "string",
                    "maxLength": KEY_LENGTH_MAX,
                    "description": "For list: what keys begin with; all when absent.",
                },
                "values": {
                    "type": "object",
                    "description": f"For batch_store: up to {AT_ONCE_MAX} values by their keys.",
                },
                "keys": {
                    "type": "array",
                    "maxItems": AT_ONCE_MAX,
                    "items": _KEY,
                    "description": "For batch_retrieve.",
                },
            },
            "required": ["action"],
            "additionalProperties": False,
        },
        is_destructive=True,
    )  # fmt: skip

    def __init__(self, limits: StateLimits | None = None) -> None:
        self._limits = limits or StateLimits()

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do `action`."""
        states = States(context.folder / FILE_NAME, self._limits)
        try:
            content = await asyncio.to_thread(_do, states, arguments)
        except StateError as error:
            raise Mistake(str(error)) from error
        return ToolResult(content=content)


def _do(states: States, arguments: Mapping[str, Any]) -> dict[str, Any]:
    match arguments["action"]:
        case "store":
            key = _needed(arguments, "key")
            states.store({key: _needed(arguments, "value")})
            return {"key": key, "stored": True}
        case "retrieve":
            key = _needed(arguments, "key")
            found = states.retrieve([key])
            return {"key": key, "found": bool(found)} | ({"value": found[key]} if found else {})
        case "delete":
            key = _needed(arguments, "key")
            return {"key": key, "deleted": states.delete(key)}
        case "exists":
            key = _needed(arguments, "key")
            return {"key": key, "exists": bool(states.retrieve([key]))}
        case "batch_store":
            values = _needed(arguments, "values")
            _check_keys(values)
            states.store(values)
            return {"stored": len(values)}
        case "batch_retrieve":
            keys = _needed(arguments, "keys")
            found = states.retrieve(keys)
            return {"values": found, "missing": [key for key in keys if key not in found]}
        case _:
            keys, total = states.keys(arguments.get("prefix", ""), limit=LISTED_MAX)
            return {"keys": keys, "total": total}


def _check_keys(values: Mapping[str, Any]) -> None:
    if len(values) > AT_ONCE_MAX:
        raise Mistake(f"At most {AT_ONCE_MAX} values at once.")
    for key in values:
        if not 0 < len(key) <= KEY_LENGTH_MAX:
            raise Mistake(f"A key has 1 to {KEY_LENGTH_MAX} characters, not {len(key)}.")


def _needed(arguments: Mapping[str, Any], name: str) -> Any:
    if name not in arguments:
        raise Mistake(f"For {arguments['action']}, `{name}` is needed.")
    return arguments[name]
