"""What a tool is, seen from a model and from a turn: a name, a schema, a call, a result.

Bulk data never passes through a model. A tool that yields a page, a table or a picture keeps it
as an *artifact* of the conversation and returns its handle (`artifact:3`); the next tool takes
the handle. A parameter that takes one says so in its JSON Schema, with `"format": "artifact"`
and, under `"x-media-types"`, the media types it understands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caxton_node.domain.agent import EMPTY

__all__ = ["Artifact", "ToolCall", "ToolResult", "ToolSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a model is told of a tool, and what the turn must know to call it safely."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments; its type is `object`."""
    is_read_only: bool = False
    """Calling it changes nothing outside the conversation: it may be repeated freely."""
    is_destructive: bool = False
    """It may delete or overwrite. A provider that only guesses never calls it."""
    produces: tuple[str, ...] = ()
    """Media types of the artifacts it may yield."""
    config_schema: Mapping[str, Any] = EMPTY
    """JSON Schema of the agent's `[tool_config.<name>]`; empty when there is nothing to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to call a tool."""

    id: str
    """The model's own name for the call. Never an idempotency key: it differs every attempt."""
    name: str
    arguments: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A piece of data that a conversation keeps, known by its handle."""

    handle: str
    """`artifact:1`, `artifact:2`, … within one conversation."""
    name: str
    """A file name for people, such as `sales.csv`."""
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call came to."""

    content: Any
    """JSON value, small enough to show to a model."""
    is_error: bool = False
    artifacts: tuple[Artifact, ...] = ()
    """What this call kept, in order."""
