"""What gRPC services ask of the node's front door, and how they read what comes back.

Everything but sending messages and following turns is asked as REST is asked, so that both check,
do and answer the same, and so that what belongs to another node is asked there.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import Place, Rejected
from caxton_node.runtime.door import Ask, Door, Going, Told, Whole

__all__ = ["PAGE_MAX", "Asking", "page_query"]

PREFIX: Final = "/api/v1"

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200


def page_query(size: int, token: str) -> dict[str, str]:
    """Return the query for a page of a list.

    Raises:
        Rejected: `invalid_request`: the page is too large.
    """
    if size > PAGE_MAX:
        raise Rejected(
            "invalid_request",
            "the request breaks a rule",
            places=[Place(f"`page_size` is 0 to {PAGE_MAX}", field="page_size", rule="range")],
        )
    query = {"limit": str(size or PAGE_DEFAULT)}
    return query | {"cursor": token} if token else query


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks the front door.

    Args:
        door: Of this node.
    """

    door: Door

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of an answer.

        Raises:
            CaxtonError: Whatever goes wrong, as REST would say it.
        """
        return await self._value("GET", path, query, b"")

    async def post(
        self, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """Ask for a change and return the JSON of the answer; None where there is none."""
        return await self._value("POST", path, query, _body(body))

    async def put(self, path: str, body: object) -> Any:
        """Ask for something to be put there and return the JSON of the answer."""
        return await self._value("PUT", path, None, _body(body))

    async def delete(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask for something to go away."""
        return await self._value("DELETE", path, query, b"")

    async def follow(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Told | None]:
        """Yield the events of an answer that goes on; None is a sign of life."""
        ask = Ask(method="GET", path=f"{PREFIX}{path}", query=query or {}, wants_events=True)
        answer = await self.door.ask(ask)
        assert isinstance(answer, Going), "events were asked for"
        async with aclosing(answer.events):
            async for told in answer.events:
                yield told

    async def _value(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes
    ) -> Any:
        ask = Ask(method=method, path=f"{PREFIX}{path}", query=query or {}, body=body)
        answer = await self.door.ask(ask)
        assert isinstance(answer, Whole), "no events were asked for"
        return decode_json(answer.body, what="the answer") if answer.body else None


def _body(value: object) -> bytes:
    return b"" if value is None else msgspec.json.encode(value)
