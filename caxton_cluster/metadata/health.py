"""Whether the store can be used, as its latest calls tell.

A value that others show; nobody waits for it. One answer that needed a majority of etcd's members
makes it connected, one call that no member answered in time makes it degraded.
"""

from collections.abc import Callable

from caxton_cluster.metadata.values import Connection, StoreState

__all__ = ["Health"]


class Health:
    """Keeps the state of a store, and tells of its changes.

    Args:
        now_ms: Milliseconds since 1970, UTC.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.state = StoreState(Connection.DEGRADED, "not reached yet", now_ms())
        self.losses_count = 0
        """How often it was connected and then was not."""
        self._is_untold = True
        self._watchers: list[Callable[[StoreState], None]] = []

    def on_change(self, tell: Callable[[StoreState], None]) -> None:
        """Call `tell`, which must not block, whenever the store is lost or found."""
        self._watchers.append(tell)

    def answered(self) -> None:
        """Note that a majority of the members is there."""
        if self.state.connection is not Connection.CONNECTED:
            self._become(StoreState(Connection.CONNECTED, "", self._now_ms()))

    def failed(self, reason: str) -> None:
        """Note that a call failed at every member, or was denied."""
        if self.state.connection is Connection.CONNECTED:
            self.losses_count += 1
            self._become(StoreState(Connection.DEGRADED, reason, self._now_ms()))
        elif self._is_untold:
            self._become(StoreState(Connection.DEGRADED, reason, self.state.since_ms))
        elif self.state.reason != reason:
            # Still lost, for another reason: since when stays.
            self.state = StoreState(Connection.DEGRADED, reason, self.state.since_ms)

    def _become(self, state: StoreState) -> None:
        self.state, self._is_untold = state, False
        for tell in self._watchers:
            tell(state)
