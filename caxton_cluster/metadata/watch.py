"""What has been told of a watch, and where to go on after it broke.

A watch is a list of all keys at one revision and then every change after it, in order. When the
stream breaks it goes on from the next revision, at whichever member; the changes of one
transaction are told together or not at all. When etcd has compacted the history that is missing,
what happened between is lost for good, so that a new list takes its place: whoever mirrors keys
drops those that are not in it.

Arithmetic only; the shell is `EtcdStore.watch`.

Reference: etcd v3 API guarantees, "Watch APIs": ordered, unique, reliable, atomic, resumable.
"""

from collections.abc import Callable, Sequence

from caxton_cluster.metadata.values import Change, Gone, KeyValue
from caxton_cluster.metadata.wire import etcd_pb2 as wire

__all__ = ["WatchCursor", "WatchEnded", "read_key_value"]


class WatchEnded(Exception):
    """Etcd ended the watch.

    Attributes:
        is_compacted: The history from the cursor on is no longer there.
    """

    def __init__(self, reason: str, *, is_compacted: bool) -> None:
        super().__init__(reason)
        self.is_compacted = is_compacted


class WatchCursor:
    """Follows one watch over any number of streams.

    Args:
        next_revision: The first that was not told yet.
        key_of: Makes the store's key of etcd's.
    """

    def __init__(self, next_revision: int, key_of: Callable[[bytes], str]) -> None:
        self.next_revision = next_revision
        self._key_of = key_of
        self._pending: list[wire.Event] = []

    def restart(self) -> None:
        """Begin another stream, from `next_revision`: what was told in part is told anew."""
        self._pending.clear()

    def receive(self, response: wire.WatchResponse) -> Change | None:
        """Take in an answer and return what it completes.

        Raises:
            WatchEnded: There will be no more.
        """
        if response.compact_revision:
            raise WatchEnded("the history is compacted", is_compacted=True)
        if response.canceled:
            raise WatchEnded(response.cancel_reason or "cancelled", is_compacted=False)
        # After a resumption nothing older is sent; a member that does so is not believed.
        self._pending += [
            event for event in response.events if event.kv.mod_revision >= self.next_revision
        ]
        if response.fragment:
            # The last transaction may have more parts in the next answer.
            return self._tell(_whole_count(self._pending))
        if not response.events and not response.created and not self._pending:
            # A sign of progress: nothing happened up to here. Beside events the header proves
            # nothing: while a watch catches up it runs ahead of them.
            self.next_revision = max(self.next_revision, response.header.revision + 1)
        return self._tell(len(self._pending))

    def _tell(self, count: int) -> Change | None:
        told, self._pending = self._pending[:count], self._pending[count:]
        if not told:
            return None
        self.next_revision = told[-1].kv.mod_revision + 1
        return Change(tuple(map(self._event, told)), told[-1].kv.mod_revision)

    def _event(self, event: wire.Event) -> KeyValue | Gone:
        if event.type == wire.Event.DELETE:
            return Gone(self._key_of(event.kv.key), event.kv.mod_revision)
        return read_key_value(event.kv, self._key_of)


def _whole_count(events: Sequence[wire.Event]) -> int:
    """Return how many events belong to transactions of which the next one has begun."""
    if not events:
        return 0
    last = events[-1].kv.mod_revision
    return next(index for index, event in enumerate(events) if event.kv.mod_revision == last)


def read_key_value(kv: wire.KeyValue, key_of: Callable[[bytes], str]) -> KeyValue:
    """Return a key as a value of ours."""
    return KeyValue(
        key=key_of(kv.key),
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        lease_id=kv.lease,
    )
