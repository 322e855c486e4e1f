"""`SyncCaxtonClient`: the twin of `CaxtonClient` for programs without asyncio.

Each method is that of the asynchronous client, with the same arguments, results and errors; what
is an asynchronous iterator there is an ordinary one here. One thread of its own runs the event
loop. It may be used from several threads.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from caxton.client import CaxtonClient
from caxton.connection import Tls

__all__ = ["SyncCaxtonClient"]

STOP_S: Final = 10.0
"""For the end of the thread, once everything is closed."""

P = ParamSpec("P")
T = TypeVar("T")


def _once(
    method: Callable[Concatenate[CaxtonClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncCaxtonClient", P], T]:
    @functools.wraps(method)
    def call(self: "SyncCaxtonClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(method(self.twin, *args, **kwargs))

    return call


def _many(
    method: Callable[Concatenate[CaxtonClient, P], AsyncGenerator[T]],
) -> Callable[Concatenate["SyncCaxtonClient", P], Generator[T]]:
    @functools.wraps(method)
    def call(self: "SyncCaxtonClient", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        items = method(self.twin, *args, **kwargs)
        try:
            while True:
                try:
                    item = self.run(anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self.is_closed:
                self.run(items.aclose())

    return call


class SyncCaxtonClient:
    """A client of one cluster. Open it with `with`, or call `close` at the end.

    Args:
        endpoints: `host:port` of a node, or of several to turn to when one is away.
        tls: How to know the server and be known by it; None for plain channels.
        token: Sent with every call.
        timeout_s: For a call that names none of its own, all tries together.

    Raises:
        ValueError: An endpoint is wrong, or a token would travel unencrypted.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = "localhost:50051",
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.twin = CaxtonClient(endpoints, tls=tls, token=token, timeout_s=timeout_s)
        """The asynchronous client. Its coroutines belong to the thread of this one: see `run`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="caxton-client", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        """Whether it can be used no more."""
        return self._loop.is_closed()

    def close(self) -> None:
        """Close the connections and end the thread. A second call does nothing."""
        if self.is_closed:
            return
        try:
            self.run(self.twin.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_S)
            if not self._thread.is_alive():
                self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the twin on the client's thread and return what it returns."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C, say: nobody waits for it any more.
            future.cancel()
            raise

    deploy = _once(CaxtonClient.deploy)
    validate = _once(CaxtonClient.validate)
    agents = _once(CaxtonClient.agents)
    agent = _once(CaxtonClient.agent)
    delete = _once(CaxtonClient.delete)
    restart = _once(CaxtonClient.restart)
    stop = _once(CaxtonClient.stop)
    suspend = _once(CaxtonClient.suspend)
    resume = _once(CaxtonClient.resume)
    rollback = _once(CaxtonClient.rollback)
    scale = _once(CaxtonClient.scale)
    versions = _once(CaxtonClient.versions)
    logs = _many(CaxtonClient.logs)

    chat = _once(CaxtonClient.chat)
    chat_events = _many(CaxtonClient.chat_events)

    send = _once(CaxtonClient.send)
    send_all = _once(CaxtonClient.send_all)
    request = _once(CaxtonClient.request)
    subscribe = _many(CaxtonClient.subscribe)
    message = _once(CaxtonClient.message)
    trace = _once(CaxtonClient.trace)
    conversations = _once(CaxtonClient.conversations)
    conversation = _once(CaxtonClient.conversation)
    dead_letters = _once(CaxtonClient.dead_letters)
    retry_dead_letter = _once(CaxtonClient.retry_dead_letter)
    drop_dead_letter = _once(CaxtonClient.drop_dead_letter)

    remember = _once(CaxtonClient.remember)
    relate = _once(CaxtonClient.relate)
    recall = _once(CaxtonClient.recall)
    entities = _once(CaxtonClient.entities)
    walk = _once(CaxtonClient.walk)
    entity_history = _once(CaxtonClient.entity_history)
    forget = _once(CaxtonClient.forget)
    export_memory = _many(CaxtonClient.export_memory)
    import_memory = _once(CaxtonClient.import_memory)
    memory_stats = _once(CaxtonClient.memory_stats)

    members = _once(CaxtonClient.members)
    cluster = _once(CaxtonClient.cluster)
    watch_members = _many(CaxtonClient.watch_members)
