"""Speaks with a server: documents in, documents or a `CaxtonError` out.

Nothing is tried again by itself: the user sees *busy* and decides. How bytes travel is the
business of `exchange`.

References: RFC 9110 (HTTP), RFC 9457 (problem documents).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import click

from caxton_node.cli.event_stream import EventParser, ServerEvent
from caxton_node.cli.exchange import Deadline, Exchange, open_exchange, stranger
from caxton_node.cli.problem import error_of_problem
from caxton_node.cli.session import Session

__all__ = ["ANSWER_TIMEOUT_S", "API", "Client", "connect", "path_of", "server_url"]

API: Final = "/api/v1"

FILE_TIMEOUT_S: Final = 90.0
"""For a file of a guest."""

ANSWER_TIMEOUT_S: Final = 30.0
"""For a request that waits for the server only, not for an agent."""

SILENCE_TIMEOUT_S: Final = 60.0
"""A stream sends at least a heartbeat every 15 s."""

PAGE_ITEMS_MAX: Final = 1_000
"""What the API gives at once."""

Query = Mapping[str, str | int | bool | None]


def server_url(text: str) -> SplitResult:
    """Return a server's address, with `http://` where the user left it out.

    Raises:
        click.UsageError: It is no address of a server.
    """
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        is_good = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        is_good = False
    if not is_good or url.query or url.fragment or "@" in url.netloc:
        raise click.UsageError(
            f"{text!r} is no address of a server. Write it like http://127.0.0.1:8080."
        )
    return url


def path_of(*parts: str) -> str:
    """Return the path of a resource of the API; each part is escaped."""
    return "/".join((API, *(quote(part, safe="") for part in parts)))


def connect(session: Session) -> "Client":
    """Return a client of the session's server. Nothing is sent yet."""
    return Client(session.server, timeout_s=session.timeout_s or ANSWER_TIMEOUT_S)


class Client:
    """One server, as its API shows it."""

    def __init__(self, server: str, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = server_url(server)
        self._timeout_s = timeout_s

    @property
    def server(self) -> str:
        """The server's address, without a slash at the end."""
        return f"{self._url.scheme}://{self._url.netloc}{self._url.path.rstrip('/')}"

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return the document at `path`. Errors as in `call`."""
        return self.call("GET", path, query=query)

    def get_text(self, path: str) -> str:
        """Return the text at `path`, which is no JSON. Errors as in `call`."""
        with open_exchange(
            self._url,
            "GET",
            self._target(path, None),
            body=None,
            accept="text/plain",
            deadline=Deadline(self._timeout_s),
        ) as exchange:
            return exchange.read_all().decode()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Query | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Send a request and return the document of the answer; None for an empty one.

        Args:
            method: Of HTTP.
            path: From the root, escaped.
            body: JSON value to send; None sends none.
            query: Parameters; those that are None are left out.
            timeout_s: For the whole exchange; None takes the client's.

        Raises:
            CaxtonError: The server's own error; `unreachable`; `timed_out`.
        """
        deadline = Deadline(timeout_s or self._timeout_s)
        with open_exchange(
            self._url,
            method,
            self._target(path, query),
            body=_encoded(body),
            accept="application/json",
            deadline=deadline,
        ) as exchange:
            return _document_of(exchange)

    def send_file(self, path: str, data: bytes, *, timeout_s: float = FILE_TIMEOUT_S) -> Any:
        """Send a WebAssembly file and return the document of the answer. Errors as in `call`."""
        with open_exchange(
            self._url,
            "POST",
            self._target(path, None),
            body=data,
            accept="application/json",
            deadline=Deadline(max(timeout_s, self._timeout_s)),
            media_type="application/wasm",
        ) as exchange:
            return _document_of(exchange)

    def items(
        self, path: str, query: Query | None = None, *, count_max: int
    ) -> tuple[dict[str, Any], bool]:
        """Return a list as one document, its pages joined, and whether there is more.

        Args:
            path: Of the list.
            query: Its filters.
            count_max: Items to return at most.
        """
        document: dict[str, Any] = {}
        cursor: str | None = None
        found: list[Any] = []
        while len(found) < count_max:
            limit = min(PAGE_ITEMS_MAX, count_max - len(found))
            page = self.get(path, {**(query or {}), "limit": limit, "cursor": cursor})
            document = document or page
            found += page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return {**document, "items": found, "next_cursor": cursor}, cursor is not None

    def events(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Query | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[ServerEvent]:
        """Send a request and yield the events of the answer, as they come.

        `timeout_s` bounds the whole stream; None bounds its silence only. Errors as in `call`.
        """
        with open_exchange(
            self._url,
            method,
            self._target(path, query),
            body=_encoded(body),
            accept="text/event-stream",
            deadline=Deadline(timeout_s, SILENCE_TIMEOUT_S),
        ) as exchange:
            if exchange.media_type != "text/event-stream":
                _document_of(exchange)
                raise stranger(self.server, "it was asked for events and sent none")
            parser = EventParser()
            while data := exchange.read_some():
                yield from parser.feed(data)

    def _target(self, path: str, query: Query | None) -> str:
        given = {
            key: str(value).lower() if isinstance(value, bool) else value
            for key, value in (query or {}).items()
            if value is not None
        }
        return self._url.path.rstrip("/") + path + (f"?{urlencode(given)}" if given else "")


def _encoded(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _document_of(exchange: Exchange) -> Any:
    """Return the document of a good answer; raise the error of a bad one."""
    data = exchange.read_all()
    is_json = exchange.media_type.endswith("json")
    document: Any = None
    if data and is_json:
        try:
            document = json.loads(data)
        except ValueError:
            raise stranger(exchange.server, "its JSON cannot be read") from None
    if exchange.status >= 400:
        if not isinstance(document, dict):
            raise stranger(exchange.server, f"it answered {exchange.status}")
        # `/ready` says 503 with a document of its own, which is the answer.
        if isinstance(document.get("status"), str):
            return document
        raise error_of_problem(document, exchange.status)
    if exchange.status >= 300 or (data and not is_json):
        raise stranger(exchange.server, f"it answered {exchange.status} with no JSON")
    return document
