"""Calls to an engine that may be away: bounded, repeated, and refused at once while it is.

One call has one deadline for all its attempts. After it failed, the next ones fail without being
tried for a few seconds: what asks a thousand times a second must not wait a thousand times.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import stamina

from caxton_node.domain.errors import Bug, CaxtonError, Unavailable

__all__ = ["Calls", "Fault"]

ATTEMPTS_MAX: Final = 3
WAIT_INITIAL_S: Final = 0.05
WAIT_MAX_S: Final = 1.0

REFUSED_FOR_S: Final = 3.0
"""After a call that failed for good."""

T = TypeVar("T")


class Fault(Exception):
    """What an engine's library raised, read."""

    def __init__(self, detail: str, *, is_transient: bool, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.is_transient = is_transient
        """The same call may succeed a moment later."""
        self.hint = hint


class Calls:
    """Makes calls to one engine.

    Args:
        engine: What people call it, with its address.
        timeout_s: For one call, all attempts together.
        read: Returns what an exception of the engine's library means; None where it is our bug.
    """

    def __init__(
        self, engine: str, *, timeout_s: float, read: Callable[[Exception], Fault | None]
    ) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        self._read = read
        self._refused_until = 0.0
        self._failure: Unavailable | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last call failed; None when it did not."""
        return None if self._failure is None else self._failure.detail

    async def make(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a call that may be repeated without harm.

        Raises:
            Unavailable: `storage_unavailable`: the engine is away, too slow, or refuses us.
            Bug: `internal`: its library raised what nobody expected.
        """
        clock = asyncio.get_running_loop().time
        if self._failure is not None and clock() < self._refused_until:
            raise self._again(self._failure)
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._attempts(call)
        except TimeoutError as error:
            raise self._failed(
                f"{self._engine} did not answer within {self._timeout_s:g} s", None, error
            ) from error
        except Unavailable as failure:
            self._failure, self._refused_until = failure, clock() + REFUSED_FOR_S
            raise
        except Fault as fault:
            cause = fault.__cause__
            raise self._failed(f"{self._engine}: {fault.detail}", fault.hint, cause) from cause
        self._failure = None
        return result

    async def _attempts(self, call: Callable[[], Awaitable[T]]) -> T:
        attempts = stamina.retry_context(
            on=lambda error: isinstance(error, Fault) and error.is_transient,
            attempts=ATTEMPTS_MAX,
            timeout=None,
            wait_initial=WAIT_INITIAL_S,
            wait_max=WAIT_MAX_S,
            wait_jitter=WAIT_INITIAL_S,
        )
        async for attempt in attempts:
            with attempt:
                try:
                    return await call()
                except CaxtonError:
                    raise
                except Exception as error:
                    fault = self._read(error)
                    if fault is None:
                        raise Bug("internal", f"{self._engine}: {error!r}") from error
                    raise fault from error
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, detail: str, hint: str | None, cause: BaseException | None) -> Unavailable:
        clock = asyncio.get_running_loop().time
        failure = Unavailable(
            "storage_unavailable",
            f"The shared memory cannot be reached: {detail}",
            hint=hint or "Check that the server runs, and its address in the settings.",
        )
        failure.__cause__ = cause
        self._failure, self._refused_until = failure, clock() + REFUSED_FOR_S
        return failure

    @staticmethod
    def _again(failure: Unavailable) -> Unavailable:
        return Unavailable(failure.code, failure.detail, hint=failure.hint)
