"""Fetching a page that a model named: the sockets behind `http_client` and `http_sender`.

The rule of `network_rule` is asked three times, at every hop of a redirect: on the text of the
address; on what a name resolves to, by the resolver whose answer is the one connected to, so that
a second answer cannot differ from the first; and on the socket's own destination, should the
library under us ever read an address otherwise than we do.

Nothing of the environment takes part: no proxies, no netrc, no cookies, no reused connections.
Sizes are counted after decompression. Reference: RFC 9110, sections 9 and 15.4.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from caxton_node.domain.agent import EMPTY
from caxton_node.tools.network_rule import (
    AddressClass,
    HostPattern,
    NetworkRule,
    UrlRefused,
    check_url,
    classify,
)

__all__ = ["FetchFailed", "FetchRequest", "Fetched", "Fetcher", "GuardedResolver"]

CONNECTION_COUNT_MAX: Final = 64
"""Of the whole node. More calls wait, within their own time."""

CHUNK_BYTES: Final = 65_536
HEADER_LINE_BYTES_MAX: Final = 16_384
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class FetchFailed(Exception):
    """The page could not be had. The text says why, for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What to fetch, and how long and how much it may be."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = EMPTY
    """Sent to the first host only, and to no other that it redirects to."""
    body: bytes | None = None
    narrowed_to: Sequence[tuple[HostPattern, ...]] = ()
    permits: Callable[[str, URL], str | None] | None = None
    """Asked about the method and address of every hop; what it returns is not allowed."""
    timeout_s: float = 30.0
    """For everything: names, connections, redirects and the body."""
    connect_timeout_s: float = 10.0
    body_bytes_max: int = 10_000_000
    redirect_count_max: int = 5
    verifies_tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A response, whatever its status."""

    status: int
    url: URL
    """After redirects."""
    media_type: str
    """Lower case, without parameters; empty when the server did not say."""
    body: bytes


class GuardedResolver(AbstractResolver):
    """Resolves names, and answers only if every address may be connected to.

    Args:
        inner: Who really resolves.
        rule: The node's.
    """

    def __init__(self, inner: AbstractResolver, rule: NetworkRule) -> None:
        self._inner = inner
        self._rule = rule

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises:
            UrlRefused: One of them is forbidden. A name that also has others is a trap.
            OSError: It has none.
        """
        answers = await self._inner.resolve(host, port, family)
        for answer in answers:
            address = ipaddress.ip_address(answer["host"])
            if not self._rule.permits(address, host=host.lower().removesuffix("."), port=port):
                raise UrlRefused(
                    f"{host} leads to {address}, inside the node's own network or to no page."
                )
        return answers

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()


class Fetcher:
    """The node's client of the web. Use it as an async context manager.

    Args:
        rule: What may be connected to.
        user_agent: As servers see it.
        resolver: Who resolves names; the operating system when absent.
    """

    def __init__(
        self,
        rule: NetworkRule,
        *,
        user_agent: str = "caxton",
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._rule = rule
        self._user_agent = user_agent
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        inner = self._resolver or aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(inner, self._rule),
            use_dns_cache=False,
            force_close=True,
            limit=CONNECTION_COUNT_MAX,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
            trust_env=False,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            read_bufsize=CHUNK_BYTES,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, request: FetchRequest) -> Fetched:
        """Fetch a page, following redirects.

        Raises:
            UrlRefused: The address, or one that it redirects to, may not be fetched.
            FetchFailed: It did not arrive, not in time, or is too large.
        """
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._follow(request)
        except aiohttp.ConnectionTimeoutError as error:
            raise FetchFailed(
                f"{request.url[:200]} could not be connected to within "
                f"{request.connect_timeout_s:g} s."
            ) from error
        except TimeoutError as error:
            raise FetchFailed(
                f"{request.url[:200]} did not answer in full within {request.timeout_s:g} s."
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(
                f"{request.url[:200]} cannot be fetched: {str(error) or type(error).__name__}"
            ) from error

    async def _follow(self, request: FetchRequest) -> Fetched:
        target, method, body = request.url, request.method, request.body
        headers, origin = dict(request.headers), None
        for _ in range(request.redirect_count_max + 1):
            url = check_url(target, rule=self._rule, narrowed_to=request.narrowed_to)
            missing = None if request.permits is None else request.permits(method, url)
            if missing is not None:
                raise UrlRefused(f"{method} {url} is not allowed.", missing=missing)
            if origin is not None and url.origin() != origin:
                if body is not None:
                    raise FetchFailed(f"It redirects what was sent to another host, {url.host}.")
                headers = {}
            origin = url.origin()
            answer = await self._hop(request, url, method, headers, body)
            if isinstance(answer, Fetched):
                return answer
            status, target = answer
            if status == 303 or (status in {301, 302} and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
        raise FetchFailed(f"It redirects more than {request.redirect_count_max} times.")

    async def _hop(
        self,
        request: FetchRequest,
        url: URL,
        method: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> Fetched | tuple[int, str]:
        """Make one request. Return the response, or the status and target of a redirect."""
        assert self._session is not None, "the fetcher is open while tools are called"
        async with self._session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            ssl=request.verifies_tls,
            timeout=aiohttp.ClientTimeout(
                total=request.timeout_s, sock_connect=request.connect_timeout_s
            ),
        ) as response:
            location = response.headers.get("Location")
            if response.status in REDIRECTS and location:
                return response.status, str(_join(url, location))
            return Fetched(
                status=response.status,
                url=url,
                media_type=_media_type(response.headers.get("Content-Type", "")),
                body=b"" if method == "HEAD" else await _read(response, request.body_bytes_max),
            )

    def _socket(self, destination: Any) -> socket.socket:
        """Make the socket for an address, unless no rule could have let it pass."""
        family, kind, proto, _, sockaddr = destination
        found = classify(ipaddress.ip_address(sockaddr[0]))
        if found is AddressClass.NEVER or (
            found is AddressClass.INSIDE and not self._rule.allowed_private_hosts
        ):
            raise OSError(f"{sockaddr[0]} must not be connected to")
        return socket.socket(family=family, type=kind, proto=proto)


def _join(url: URL, location: str) -> URL:
    try:
        return url.join(URL(location))
    except (ValueError, TypeError) as error:
        raise UrlRefused(f"It redirects to what is no address: {location[:200]!r}") from error


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()[:100]


async def _read(response: aiohttp.ClientResponse, body_bytes_max: int) -> bytes:
    too_large = FetchFailed(f"The response is larger than {body_bytes_max:,} bytes.")
    if (response.content_length or 0) > body_bytes_max:
        raise too_large
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > body_bytes_max:
            raise too_large
    return bytes(body)
