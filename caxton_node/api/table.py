"""What an endpoint is: one row of the table that both the server and the OpenAPI document read.

A handler is a plain coroutine `(request, node) -> value`. It sees parsed values only; bytes,
headers and status lines are the business of `caxton_node.api.reading` and `.server`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel

from caxton_node.api.edge import Edge
from caxton_node.domain.agent import EMPTY
from caxton_node.domain.errors import ERRORS
from caxton_node.runtime.door import Whole
from caxton_node.runtime.node import Node
from caxton_node.telemetry.trace import Trace

__all__ = [
    "API_PREFIX",
    "DEADLINE_S",
    "Answer",
    "Document",
    "Endpoint",
    "EventStream",
    "Handler",
    "NoQuery",
    "PathParameter",
    "Request",
    "Result",
    "Shape",
    "StreamEvent",
]

API_PREFIX: Final = "/api/v1"

DEADLINE_S: Final = 30.0
"""What a handler may take, unless its row says otherwise."""

QueryT = TypeVar("QueryT")
BodyT = TypeVar("BodyT")

Method = Literal["GET", "POST", "PUT", "DELETE"]


class NoQuery(BaseModel, extra="forbid"):
    """The query of an endpoint that takes no parameters."""


@dataclass(frozen=True, slots=True)
class Request(Generic[QueryT, BodyT]):
    """A request as a handler sees it: read, checked and typed."""

    path: Mapping[str, str]
    """Path parameters by name. Each matches its pattern."""
    query: QueryT
    body: BodyT
    """None where the endpoint takes no body, or the client left an optional one out."""
    raw_body: bytes
    wants_events: bool
    """The client asked for `text/event-stream`."""
    wants_openmetrics: bool
    """The client asked for `application/openmetrics-text`."""
    trace: Trace
    instance: str
    """The path that was asked for."""
    edge: Edge
    is_from_node: bool = False
    """Another node asks on behalf of a client of its own: it is answered here."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    name: str
    data: BaseModel | Mapping[str, Any] | bytes
    """Bytes are JSON text already."""
    number: int | None = None

    def json(self) -> bytes:
        """Return the data as JSON text."""
        if isinstance(self.data, bytes):
            return self.data
        if isinstance(self.data, BaseModel):
            return self.data.model_dump_json().encode()
        return msgspec.json.encode(self.data)


@dataclass(frozen=True, slots=True)
class EventStream:
    """A response that goes on. The shell closes the iterator when the client has gone."""

    events: AsyncIterator[StreamEvent | None]
    """None is a sign of life while there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON response with a status or headers of its own."""

    value: BaseModel | None
    status: int = 200
    headers: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True)
class Document:
    """A response that is not JSON made from a model."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = EMPTY


Result = BaseModel | Answer | Document | EventStream
"""What a handler returns. A bare model is answered with 200."""

Handler = Callable[[Any, Node], Awaitable[Result | Whole]]
"""A handler that asked another node passes on its answer as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathParameter:
    """A variable part of an address."""

    name: str
    description: str
    pattern: str
    """What a value looks like. Nothing else exists, so anything else is answered by
    `missing_code`."""
    missing_code: str
    example: str
    reserved: tuple[str, ...] = ()
    """Values that are addresses of their own."""
    kind: Literal["string", "integer"] = "string"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a response of one status looks like."""

    description: str
    model: type[BaseModel] | tuple[type[BaseModel], ...] | None = None
    """Several are alternatives."""
    media_type: str = "application/json"
    headers: Mapping[str, str] = EMPTY
    """Name → what it says."""
    is_free_json: bool = False
    """JSON of a shape that is described elsewhere."""
    has_events: bool = False
    """The same endpoint also streams events, to a client that accepts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row."""

    method: Method
    path: str
    """With the prefix; `{name}` is variable."""
    summary: str
    tag: str
    handle: Handler
    responses: Mapping[int, Shape]
    errors: tuple[str, ...] = ()
    """Codes it can give besides those that every endpoint can."""
    description: str = ""
    parameters: tuple[PathParameter, ...] = ()
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    binary_bytes_max: int | None = None
    """The body is bytes of the media type `application/wasm`, at most so many, and no JSON."""
    is_while_draining: bool = False
    """Served also while the node is stopping, though it is no GET."""
    belongs_to: Literal["node", "agent", "holder", "named"] = "node"
    """Which node carries it out: the one that was asked; the one that has the agent `name`; any
    that knows the id in the path; or the one that `node` in the query names."""
    deadline_s: float = DEADLINE_S
    is_head_allowed: bool = True
    """A GET is also a HEAD."""
    operation_id: str = field(init=False)

    @property
    def route(self) -> str:
        """The path as the server's router takes it."""
        route = self.path
        for parameter in self.parameters:
            if parameter.reserved:
                others = "|".join(parameter.reserved)
                route = route.replace(
                    f"{{{parameter.name}}}", f"{{{parameter.name}:(?!(?:{others})$)[^{{}}/]+}}"
                )
        return route

    def __post_init__(self) -> None:
        unknown = [code for code in self.errors if code not in ERRORS]
        assert not unknown, f"{self.path} names unknown errors: {unknown}"
        named = {parameter.name for parameter in self.parameters}
        braced = {part[1:-1] for part in self.path.split("/") if part.startswith("{")}
        assert named == braced, f"{self.path} does not declare its parameters"
        object.__setattr__(self, "operation_id", self.handle.__name__)
