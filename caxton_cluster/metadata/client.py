"""Calls of etcd that survive the loss of a member.

One method carries them all: it asks the member in use, and on failure the next one, until the
call's deadline. It repeats what surely was not carried out, and what may be carried out twice;
anything else ends as `OutcomeUnknown`, because a lost write may still arrive after a later one.

`stamina`, which repeats calls elsewhere in Caxton, repeats the same thing after a wait. Here the
next attempt goes to another member without a wait, and what a failure means depends on whether
the request was sent.

Reference: etcd v3 API; `verdict` says what failures mean.
"""

import asyncio
import random
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from caxton_cluster.errors import (
    InvalidSetting,
    LeaseLost,
    MetadataDenied,
    MetadataRefused,
    MetadataUnavailable,
    NotRunning,
    OutcomeUnknown,
)
from caxton_cluster.metadata.health import Health
from caxton_cluster.metadata.members import Member, Members
from caxton_cluster.metadata.methods import AUTHENTICATE, KEEP_ALIVE, RANGE, WATCH, Method
from caxton_cluster.metadata.settings import EtcdSettings
from caxton_cluster.metadata.verdict import Verdict, judge
from caxton_cluster.metadata.wire import etcd_pb2 as wire

__all__ = ["Compacted", "EtcdClient", "StreamBroken"]

ROUND_WAIT_FIRST_S: Final = 0.05
ROUND_WAIT_MAX_S: Final = 0.8
"""Waits after all members have failed in turn; they double from the first to the longest."""

TOKEN_RENEWALS_MAX: Final = 2
"""In one call. More would be a quarrel with etcd about who we are."""

_LEADER: Final = (("hasleader", "true"),)
"""A member that has lost its leader then says so at once instead of letting us wait."""

_NOT_ENABLED: Final = "authentication is not enabled"
"""Etcd's words where it asks nobody who they are."""

_GRPC_PREFIX: Final = re.compile(r"^.*?last error: (?:[A-Z_]+: )?(?:ipv[46]:\S+: )?")

REASON_LENGTH_MAX: Final = 300
"""Characters of etcd's, or gRPC's, words that are passed on."""

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Metadata = tuple[tuple[str, str], ...]
Attempt = Callable[[Member, Metadata, float], Awaitable[ResponseT]]
"""Sends a request to a member, with this metadata and within these seconds."""


class Compacted(Exception):
    """The history that was asked for is no longer kept."""


class StreamBroken(Exception):
    """A stream ended that should have gone on; another member has its turn now."""


class _AttemptFailed(Exception):
    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


class EtcdClient:
    """A connection to a cluster of etcd. Close it at the end.

    Args:
        settings: Where it is and how to come in.
        health: Told of what the calls tell.

    Raises:
        InvalidSetting: A certificate or a key cannot be read.
    """

    def __init__(self, settings: EtcdSettings, health: Health) -> None:
        self.settings = settings
        self.health = health
        self.doubts = asyncio.Event()
        """Set when a call fails: somebody should look whether etcd is still there."""
        self.members = Members(settings.endpoints, _credentials(settings))
        self.calls_count = 0
        self.failures_count = 0
        """Attempts that failed; the call may have succeeded at another member."""
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - it spreads attempts
        self._clock = asyncio.get_running_loop().time
        self._token: str | None = None if settings.user else ""
        """None was not asked for yet; empty where etcd asks nobody."""
        self._renewing = asyncio.Lock()
        self._is_closed = False

    async def close(self) -> None:
        """Cancel what is under way, and hang up."""
        self._is_closed = True
        await self.members.close()

    # Calls with one answer.

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        is_repeatable: bool,
        timeout_s: float | None = None,
    ) -> ResponseT:
        """Make a call and return its answer.

        Args:
            method: Which.
            request: What to send.
            is_repeatable: Carried out twice it does no harm.
            timeout_s: For all attempts; without it as in the settings.

        Raises:
            MetadataUnavailable: Nobody answered in time.
            OutcomeUnknown: It was sent, is not repeatable, and its answer got lost.
            MetadataDenied: Etcd does not let us.
            MetadataRefused: Etcd will never do it.
            LeaseLost: The lease in it is no more.
            Compacted: The revision in it is no longer kept.
            NotRunning: The client is closed.
        """
        ends_at = self._clock() + (timeout_s or self.settings.timeout_s)
        await self._introduce(ends_at)
        return await self._persist(_unary(method, request), ends_at, is_repeatable=is_repeatable)

    async def keep_alive(self, lease_id: int, *, timeout_s: float) -> float:
        """Renew a lease; return its new time to live in seconds, 0 when there is none such.

        Raises:
            MetadataUnavailable: Nobody answered in time.
            MetadataDenied: Etcd does not let us.
        """
        request = wire.LeaseKeepAliveRequest(ID=lease_id)

        async def attempt(
            member: Member, metadata: Metadata, within_s: float
        ) -> wire.LeaseKeepAliveResponse:
            stream = member.stream(KEEP_ALIVE)(timeout=within_s, metadata=metadata)
            try:
                await stream.write(request)
                answer = await stream.read()
            finally:
                stream.cancel()
            if isinstance(answer, wire.LeaseKeepAliveResponse):
                return answer
            raise _AttemptFailed(Verdict.NOT_DONE, "the stream ended without an answer")

        ends_at = self._clock() + timeout_s
        await self._introduce(ends_at)
        response = await self._persist(attempt, ends_at, is_repeatable=True)
        return float(response.TTL)

    async def _persist(
        self, attempt: Attempt[ResponseT], ends_at: float, *, is_repeatable: bool
    ) -> ResponseT:
        self.calls_count += 1
        renewals, failures, wait_s = 0, 0, ROUND_WAIT_FIRST_S
        reason = "the deadline passed"
        while (remaining_s := ends_at - self._clock()) > 0:
            member, token = self.members.current, self._token
            try:
                within_s = min(remaining_s, self.settings.attempt_timeout_s)
                response = await self._attempt(attempt, member, within_s)
            except _AttemptFailed as failure:
                reason = f"{member.url}: {failure.reason}"
                if failure.verdict is Verdict.TOKEN and renewals < TOKEN_RENEWALS_MAX:
                    renewals += 1
                    await self._renew_token(token, ends_at)
                    continue
                self._judge(failure, reason, member, is_repeatable=is_repeatable)
            else:
                self.health.answered()
                return response
            failures += 1
            if failures % len(self.members) == 0:
                # All have failed; give them time, a different one for each of us.
                rest_s = max(0.0, ends_at - self._clock())
                await asyncio.sleep(min(rest_s, wait_s * (0.5 + self._random.random())))
                wait_s = min(2 * wait_s, ROUND_WAIT_MAX_S)
        self.health.failed(reason)
        raise MetadataUnavailable(f"etcd cannot be reached: {reason}")

    async def _attempt(
        self, attempt: Attempt[ResponseT], member: Member, within_s: float
    ) -> ResponseT:
        if self._is_closed:
            raise NotRunning("the connection to etcd is closed")
        if not member.is_connected:
            within_s = await _connected(member, within_s, self._clock)
        try:
            return await attempt(member, self._metadata(), within_s)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        except (grpc.aio.UsageError, grpc.aio.InternalError) as error:
            if self._is_closed:
                raise NotRunning("the connection to etcd is closed") from None
            raise _AttemptFailed(Verdict.UNKNOWN, str(error)) from None

    def _judge(
        self, failure: _AttemptFailed, reason: str, member: Member, *, is_repeatable: bool
    ) -> None:
        """Return where another member should be asked; raise what the caller must know."""
        self.failures_count += 1
        match failure.verdict:
            case Verdict.NOT_DONE:
                self.members.pass_on(member)
            case Verdict.UNKNOWN:
                self.members.pass_on(member)
                self.doubts.set()
                if not is_repeatable:
                    raise OutcomeUnknown(f"a write was sent and not answered: {reason}")
            case Verdict.TOKEN | Verdict.DENIED:
                self._deny(reason)
            case Verdict.LEASE_GONE:
                raise LeaseLost("etcd knows no such lease")
            case Verdict.COMPACTED:
                raise Compacted
            case Verdict.REFUSED:
                raise MetadataRefused(f"etcd refused: {reason}")

    def _deny(self, reason: str) -> NoReturn:
        # Perhaps of this one key; whoever is told to doubt finds out.
        self.doubts.set()
        raise MetadataDenied(f"etcd denied: {reason}")

    # Who we are.

    def _metadata(self) -> Metadata:
        return (*_LEADER, ("token", self._token)) if self._token else _LEADER

    async def _introduce(self, ends_at: float) -> None:
        """Get a token before the first call: without one, a certificate's name would count."""
        if self._token is None:
            await self._renew_token(None, ends_at)

    async def _renew_token(self, refused: str | None, ends_at: float) -> None:
        """Get another token than `refused`, unless somebody has got one meanwhile."""
        if not self.settings.user:
            self._deny("it asks for a user, and none is configured")
        async with self._renewing:
            if self._token != refused:
                return
            request = wire.AuthenticateRequest(
                name=self.settings.user, password=self.settings.password
            )
            attempt = _unary(AUTHENTICATE, request, has_token=False)
            try:
                response = await self._persist(attempt, ends_at, is_repeatable=True)
            except MetadataRefused as error:
                if _NOT_ENABLED not in str(error):
                    raise
                self._token = ""
            else:
                self._token = response.token

    # Streams.

    async def watch(self, request: wire.WatchCreateRequest) -> AsyncGenerator[wire.WatchResponse]:
        """Open a watch at the member in use and yield its answers, the first one included.

        Raises:
            StreamBroken: It ended; open another one.
            MetadataDenied: Etcd does not let us watch.
        """
        await self._introduce(self._clock() + self.settings.timeout_s)
        member, token = self.members.current, self._token
        within_s = self.settings.attempt_timeout_s
        stream: Any = None
        try:
            async with asyncio.timeout(within_s):
                await member.settled()
                if self._is_closed:
                    raise NotRunning("the connection to etcd is closed")
                stream = member.stream(WATCH)(metadata=self._metadata())
                await stream.write(wire.WatchRequest(create_request=request))
                first = await stream.read()
            if _is_denied(first):
                # Etcd says the same of a token that it does not know, and of one that may not.
                # Reading needs the same permission, and gets another token where that helps.
                await self.call(RANGE, _counted(request), is_repeatable=True)
                raise StreamBroken("another token was needed")
            while first is not grpc.aio.EOF:
                yield first
                first = await stream.read()
            raise StreamBroken("the stream ended")
        except TimeoutError:
            self._break(member, f"{member.url}: no watch in {within_s:.1f} s")
        except grpc.aio.AioRpcError as error:
            failure = _failure(error)
            if failure.verdict is Verdict.TOKEN:
                await self._renew_token(token, self._clock() + self.settings.timeout_s)
                raise StreamBroken(failure.reason) from None
            if failure.verdict is Verdict.DENIED:
                self._deny(failure.reason)
            self._break(member, f"{member.url}: {failure.reason}")
        finally:
            if stream is not None:
                stream.cancel()

    def _break(self, member: Member, reason: str) -> NoReturn:
        self.failures_count += 1
        self.members.pass_on(member)
        self.doubts.set()
        raise StreamBroken(reason)


async def _connected(member: Member, within_s: float, clock: Callable[[], float]) -> float:
    """Wait until a connection is made or has failed; return what is left of the time."""
    ends_at = clock() + within_s
    try:
        async with asyncio.timeout(within_s):
            await member.settled()
    except TimeoutError:
        raise _AttemptFailed(Verdict.NOT_DONE, f"no connection in {within_s:.1f} s") from None
    return max(0.001, ends_at - clock())


def _unary(
    method: Method[RequestT, ResponseT], request: RequestT, *, has_token: bool = True
) -> Attempt[ResponseT]:
    async def attempt(member: Member, metadata: Metadata, within_s: float) -> ResponseT:
        sent = metadata if has_token else _LEADER
        return await member.unary(method)(request, timeout=within_s, metadata=sent)

    return attempt


def _is_denied(first: Any) -> bool:
    return isinstance(first, wire.WatchResponse) and (
        first.canceled and "permission denied" in first.cancel_reason
    )


def _counted(request: wire.WatchCreateRequest) -> wire.RangeRequest:
    return wire.RangeRequest(key=request.key, range_end=request.range_end, count_only=True)


def _failure(error: grpc.aio.AioRpcError) -> _AttemptFailed:
    details = error.details() or error.code().name
    # Of gRPC's own words only those count in which the system speaks.
    told = _GRPC_PREFIX.sub("", details)
    return _AttemptFailed(judge(error.code(), details), told[:REASON_LENGTH_MAX])


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    if not settings.is_encrypted:
        return None
    try:
        ca, key, certificate = (
            None if path is None else path.read_bytes()
            for path in (settings.ca_path, settings.key_path, settings.cert_path)
        )
    except OSError as error:
        raise InvalidSetting(
            "ca_path, cert_path, key_path", f"{error.filename} cannot be read: {error.strerror}"
        ) from None
    return grpc.ssl_channel_credentials(ca, key, certificate)
