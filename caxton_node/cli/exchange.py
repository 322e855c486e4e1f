"""One HTTP request and its answer, with a deadline on every wait and a limit on every size.

The standard library's client is enough: one request, one connection, nothing in the
background. It is imported quickly, unlike aiohttp, and a command line is started often.

What a socket or a stranger's bytes can raise leaves here as a `CaxtonError`.
"""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult

from caxton_node.domain.errors import TimedOut, Unavailable

__all__ = ["ANSWER_BYTES_MAX", "Deadline", "Exchange", "open_exchange", "stranger"]

CONNECT_TIMEOUT_S: Final = 5.0

ANSWER_BYTES_MAX: Final = 64_000_000

READ_BYTES: Final = 65_536


class Deadline:
    """The moment when a wait ends, and how long a peer may be silent before that."""

    def __init__(self, timeout_s: float | None, silence_s: float | None = None) -> None:
        assert timeout_s is not None or silence_s is not None, "every wait has a deadline"
        self._ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        self._silence_s = silence_s

    def rest_s(self) -> float:
        """Return how long to wait for the next byte.

        Raises:
            TimeoutError: No time is left.
        """
        rest = [] if self._ends_at is None else [self._ends_at - time.monotonic()]
        if self._silence_s is not None:
            rest.append(self._silence_s)
        if min(rest) <= 0:
            raise TimeoutError
        return min(rest)


class Exchange:
    """An answer whose head was read and whose body waits."""

    def __init__(
        self,
        server: str,
        *,
        answer: http.client.HTTPResponse,
        channel: socket.socket,
        deadline: Deadline,
    ) -> None:
        self.server = server
        self.status = answer.status
        self.media_type = answer.getheader("Content-Type", "").partition(";")[0].strip().lower()
        self._answer = answer
        self._channel = channel
        self._deadline = deadline

    def read_some(self) -> bytes:
        """Return what is there, at most `READ_BYTES`, waiting for the first byte; b"" at the end.

        Raises:
            CaxtonError: `timed_out`; `unreachable`, when the connection broke.
        """
        with _mapped_errors(self.server):
            self._channel.settimeout(self._deadline.rest_s())
            return self._answer.read1(READ_BYTES)

    def read_all(self) -> bytes:
        """Return the rest of the body. Errors as in `read_some`."""
        data = bytearray()
        while piece := self.read_some():
            data += piece
            if len(data) > ANSWER_BYTES_MAX:
                raise stranger(self.server, f"its answer exceeds {ANSWER_BYTES_MAX:,} bytes")
        return bytes(data)


@contextmanager
def open_exchange(
    url: SplitResult,
    method: str,
    target: str,
    *,
    body: bytes | None,
    accept: str,
    deadline: Deadline,
    media_type: str = "application/json",
) -> Iterator[Exchange]:
    """Send a request to the server at `url` and read the head of its answer.

    Args:
        url: Scheme, host and port are taken.
        method: Of HTTP.
        target: Path and query.
        body: What to send, if anything.
        accept: The media type that is wanted.
        deadline: For the exchange.
        media_type: Of the body.

    Raises:
        CaxtonError: `unreachable`, `timed_out`.
    """
    server = f"{url.scheme}://{url.netloc}"
    with _mapped_errors(server):
        connection = _connection(url, min(CONNECT_TIMEOUT_S, deadline.rest_s()))
    headers = {"Accept": accept, "User-Agent": "caxton"}
    if body is not None:
        headers["Content-Type"] = media_type
    try:
        try:
            connection.connect()
        except OSError as error:
            raise _unreachable(server, _reason(error)) from None
        channel = connection.sock
        with _mapped_errors(server):
            channel.settimeout(deadline.rest_s())
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
        yield Exchange(server, answer=answer, channel=channel, deadline=deadline)
    finally:
        connection.close()


def _connection(url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    assert url.hostname is not None, "an address without a host was refused where it was read"
    if url.scheme == "https":
        return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout_s)
    return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout_s)


@contextmanager
def _mapped_errors(server: str) -> Iterator[None]:
    """Turn what a connection raises into what a user can act upon."""
    try:
        yield
    except TimeoutError:
        raise TimedOut(
            "timed_out",
            f"{server} did not answer in time",
            hint="wait longer with --timeout",
        ) from None
    except (OSError, http.client.IncompleteRead) as error:
        raise _unreachable(server, _reason(error)) from None
    except http.client.HTTPException as error:
        raise stranger(server, f"{type(error).__name__}: {error}") from None


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it does not answer"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return "the connection broke"
        case OSError(strerror=str(text)) if text:
            return text
    return str(error)


def _unreachable(server: str, reason: str) -> Unavailable:
    return Unavailable(
        "unreachable",
        f"No server answers at {server}: {reason}",
        hint="start one with: caxton server start",
    )


def stranger(server: str, reason: str) -> Unavailable:
    """Return the error for an answer that no Caxton server gives."""
    return Unavailable(
        "unreachable",
        f"What answers at {server} is no Caxton server: {reason}",
        hint="check the address in --server or CAXTON_SERVER",
    )
