"""Vectors for the whole node: one thread, one queue in front, one cache behind.

The model is loaded in that thread when it is first wanted, so that a node whose agents remember
nothing carries no model. Questions go before texts that are to be stored; what waits goes through
the model together, whoever asked. Where there is no model, asking raises `ModelUnavailable` and
the caller goes on by words alone.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Final, Protocol

from caxton_node.memory.embedding.model_files import ModelUnavailable

__all__ = ["CACHE_COUNT_MAX", "Embedder", "Encodes", "Priority"]

CACHE_COUNT_MAX: Final = 10_000
"""Vectors kept by content: 15 MB of them."""

WAITING_MAX: Final = 10_000
"""Texts that may wait. One more is refused."""

BATCH_MAX: Final = 16
"""Texts at once. A question that arrives meanwhile waits for no more than these."""

DEADLINE_S: Final = 10.0
"""For one call, the loading of the model not included."""

_CLOSE_DEADLINE_S: Final = 10.0

_log = logging.getLogger("caxton.memory")

Vector = bytes
"""Little-endian 32-bit numbers: as the database keeps them, and without a library to carry."""


class SaysBytes(Protocol):
    """A row of numbers."""

    def tobytes(self) -> bytes:
        """Return the numbers as a `Vector`."""
        ...


class Encodes(Protocol):
    """What makes vectors: an `Encoder`, or a test's stand-in for another model."""

    @property
    def identity(self) -> str:
        """Of the model."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Iterable[SaysBytes]:
        """Return one unit vector a text."""
        ...


class Priority:
    """Who goes first."""

    QUESTION: Final = 0
    STORED: Final = 1


@dataclass(slots=True)
class _Wish:
    text: str
    done: asyncio.Future[Vector]


class Embedder:
    """Makes vectors of texts. All methods belong to the event loop.

    Args:
        load: Loads the model; called in the thread, once. Raises `ModelUnavailable`. None is a
            node without a model.
        why_absent: What to say where `load` is None.
    """

    def __init__(self, load: Callable[[], Encodes] | None, *, why_absent: str = "") -> None:
        self._load = load
        self._encoder: Encodes | None = None
        self._trouble = why_absent if load is None else ""
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: tuple[deque[_Wish], deque[_Wish]] = (deque(), deque())
        self._condition = Condition()
        self._is_closing = False
        self._cache: OrderedDict[bytes, Vector] = OrderedDict()
        self._settled = asyncio.Event()
        if load is None:
            self._settled.set()
        self.text_count = 0
        """Texts that went through the model."""
        self.hit_count = 0
        """Texts that were in the cache."""

    @property
    def state(self) -> str:
        """`ready`, `waiting`, `loading`, or what is wrong."""
        if self._encoder is not None:
            return "ready"
        if self._trouble:
            return self._trouble
        return "waiting" if self._thread is None else "loading"

    @property
    def identity(self) -> str | None:
        """Of the model; None until it is loaded."""
        return None if self._encoder is None else self._encoder.identity

    @property
    def dimensions(self) -> int:
        """Numbers in a vector; the model is loaded."""
        assert self._encoder is not None, "asked after `identity` is known"
        return self._encoder.dimensions

    def start(self) -> None:
        """Begin to load the model, if that was not begun yet. Returns at once."""
        if self._thread is not None or self._load is None or self._is_closing:
            return
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name="caxton-embedding", daemon=True)
        self._thread.start()

    async def loaded(self, *, timeout_s: float) -> bool:
        """Wait until the model is loaded or known to be absent; return whether it is there."""
        self.start()
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return self._encoder is not None

    async def close(self) -> None:
        """End the thread. What waits is refused."""
        self._is_closing = True
        with self._condition:
            self._condition.notify_all()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_DEADLINE_S)
        for queue in self._waiting:
            while queue:
                _refuse(queue.popleft().done, ModelUnavailable("the node is stopping"))

    async def embed(
        self, texts: Sequence[str], *, priority: int = Priority.QUESTION
    ) -> list[Vector]:
        """Return the vectors of texts, in order.

        Raises:
            ModelUnavailable: There is no model, it is still loading, too much waits already, or
                it took longer than 10 s.
        """
        self.start()
        if self._encoder is None:
            raise ModelUnavailable(self.state)
        keys = [_key(text) for text in texts]
        wishes: dict[bytes, _Wish] = {}
        found: dict[bytes, Vector] = {}
        loop = asyncio.get_running_loop()
        for key, text in zip(keys, texts, strict=True):
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
                self.hit_count += 1
                found[key] = cached
            elif key not in wishes:
                wishes[key] = _Wish(text, loop.create_future())
        self._enqueue(list(wishes.values()), priority)
        try:
            async with asyncio.timeout(DEADLINE_S):
                for key, wish in wishes.items():
                    found[key] = await wish.done
        except TimeoutError as error:
            raise ModelUnavailable(f"no vector within {DEADLINE_S:g} s") from error
        finally:
            for wish in wishes.values():
                if not wish.done.cancel() and not wish.done.cancelled():
                    wish.done.exception()  # one of them is raised; the others are the same
        for key in wishes:
            self._cache[key] = found[key]
        while len(self._cache) > CACHE_COUNT_MAX:
            self._cache.popitem(last=False)
        return [found[key] for key in keys]

    def _enqueue(self, wishes: Sequence[_Wish], priority: int) -> None:
        if not wishes:
            return
        with self._condition:
            if sum(map(len, self._waiting)) + len(wishes) > WAITING_MAX:
                raise ModelUnavailable(f"{WAITING_MAX} texts wait for the model already")
            self._waiting[priority].extend(wishes)
            self._condition.notify()

    # In the thread.

    def _run(self) -> None:
        loop, load = self._loop, self._load
        assert loop is not None, "started by `start`"
        assert load is not None, "started by `start`"
        try:
            encoder = load()
        except ModelUnavailable as error:
            _log.warning("memory finds by words only: %s", error)
            self._report(loop, self._absent, str(error))
            return
        except Exception as error:
            _log.exception("the embedding model cannot be loaded")
            self._report(loop, self._absent, f"the model cannot be loaded: {error}")
            return
        self._report(loop, self._present, encoder)
        while batch := self._next_batch():
            try:
                vectors = encoder.encode([wish.text for wish in batch])
            except Exception as error:
                _log.exception("texts could not be embedded")
                self._report(loop, _refuse_all, batch, ModelUnavailable(str(error)))
                continue
            self._report(loop, self._deliver, batch, vectors)

    def _next_batch(self) -> list[_Wish]:
        """Wait for wishes and return some, questions first; an empty list at the end."""
        questions, stored = self._waiting
        with self._condition:
            while not self._is_closing:
                queue = questions or stored
                batch: list[_Wish] = []
                while queue and len(batch) < BATCH_MAX:
                    wish = queue.popleft()
                    if not wish.done.cancelled():
                        batch.append(wish)
                if batch:
                    return batch
                if not questions and not stored:
                    self._condition.wait()
        return []

    @staticmethod
    def _report(
        loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object
    ) -> None:
        try:
            loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            _log.debug("the event loop is closed; nobody is left to tell")

    # Back on the event loop.

    def _present(self, encoder: Encodes) -> None:
        self._encoder = encoder
        self._settled.set()

    def _absent(self, why: str) -> None:
        self._trouble = why
        self._settled.set()

    def _deliver(self, batch: Sequence[_Wish], vectors: Iterable[SaysBytes]) -> None:
        self.text_count += len(batch)
        for wish, vector in zip(batch, vectors, strict=True):
            if not wish.done.done():
                wish.done.set_result(vector.tobytes())


def _refuse_all(batch: Sequence[_Wish], error: ModelUnavailable) -> None:
    for wish in batch:
        _refuse(wish.done, error)


def _refuse(done: asyncio.Future[Vector], error: ModelUnavailable) -> None:
    if not done.done():
        done.set_exception(error)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
