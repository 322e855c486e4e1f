"""The table of endpoints as the node's front door: for the gRPC edge and for other nodes.

What REST reads from a request line and headers comes here as an `Ask`; the rest is the same code.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from pydantic import BaseModel

from caxton_node.api.edge import Edge
from caxton_node.api.performing import perform
from caxton_node.api.reading import check_body, check_path, check_query
from caxton_node.api.routes import ENDPOINTS
from caxton_node.api.table import Answer, Document, Endpoint, EventStream, Request, StreamEvent
from caxton_node.domain.agent import EMPTY
from caxton_node.domain.errors import NotFound
from caxton_node.runtime.door import Ask, Going, Told, Whole
from caxton_node.runtime.node import Node
from caxton_node.telemetry.trace import CURRENT_TRACE, new_trace

__all__ = ["FrontDoor"]

_JSON: Final = "application/json"


class FrontDoor:
    """The `Door` of a node.

    Args:
        node: Whose parts the handlers use.
        edge: What requests share.
    """

    def __init__(self, node: Node, edge: Edge) -> None:
        self._node = node
        self._edge = edge
        self._addresses = [(_pattern(endpoint), endpoint) for endpoint in ENDPOINTS]

    async def ask(self, ask: Ask) -> Whole | Going:
        """Answer what is asked.

        Raises:
            CaxtonError: Whatever goes wrong, as REST would say it.
        """
        endpoint, values = self._find(ask)
        body = check_body(endpoint, ask.body) if ask.body else None
        if endpoint.body is not None and body is None and not endpoint.is_body_optional:
            body = check_body(endpoint, b"")
        request: Request[Any, Any] = Request(
            path=check_path(values, endpoint.parameters),
            query=check_query(ask.query, endpoint.query),
            body=body,
            raw_body=ask.body,
            wants_events=ask.wants_events,
            wants_openmetrics=False,
            trace=CURRENT_TRACE.get() or new_trace(),
            instance=ask.path,
            edge=self._edge,
            is_from_node=ask.is_from_node,
        )
        result = await perform(endpoint, request, ask, self._node)
        match result:
            case Whole() | Going():
                return result
            case EventStream(events):
                return Going(_told(events))
            case Answer(value, status, headers):
                return Whole(status, _JSON, b"" if value is None else _json(value), headers)
            case Document(body_bytes, media_type, headers):
                return Whole(200, media_type, body_bytes, headers)
            case _:
                return Whole(200, _JSON, _json(result), EMPTY)

    def _find(self, ask: Ask) -> tuple[Endpoint, Mapping[str, str]]:
        for pattern, endpoint in self._addresses:
            if endpoint.method == ask.method:
                match = pattern.fullmatch(ask.path)
                if match is not None:
                    return endpoint, match.groupdict()
        raise NotFound("route_not_found", f"there is nothing at {ask.path[:100]}")


def _pattern(endpoint: Endpoint) -> re.Pattern[str]:
    pattern = re.escape(endpoint.path)
    for parameter in endpoint.parameters:
        others = f"(?!(?:{'|'.join(parameter.reserved)})(?:/|$))" if parameter.reserved else ""
        pattern = pattern.replace(
            re.escape(f"{{{parameter.name}}}"), f"{others}(?P<{parameter.name}>[^/]+)"
        )
    return re.compile(pattern)


def _json(value: BaseModel) -> bytes:
    text: bytes = type(value).__pydantic_serializer__.to_json(value, exclude_none=False)
    return text


async def _told(events: AsyncIterator[StreamEvent | None]) -> AsyncGenerator[Told | None]:
    async with aclosing(events):  # type: ignore[type-var]  # every stream is a generator
        async for event in events:
            yield None if event is None else Told(event.name, event.json(), event.number)
