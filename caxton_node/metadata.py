"""A node's use of cluster metadata: settings for the whole cluster, and a copy of what it offers.

The store is opened and closed with the node. Its loss is told and shown, and takes away only what
needs it: settings stay as they were last told, locks are lost when their leases end, the copy
ages. Messages know nothing of it. What goes wrong in here is logged and begun anew, and never
ends the node.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, Final

from caxton_cluster.errors import (
    ClusterError,
    InvalidSetting,
    MetadataError,
    MetadataOff,
    MetadataRefused,
    OutcomeUnknown,
)
from caxton_cluster.metadata import (
    Change,
    Connection,
    Gone,
    KeyValue,
    LockInfo,
    MetadataStore,
    NoStore,
    Snapshot,
    StoreState,
)
from caxton_cluster.metadata import EtcdSettings as StoreSettings
from caxton_cluster.metadata.etcd import EtcdStore
from caxton_cluster.metadata.mirror import Mirror
from caxton_node.config import Settings
from caxton_node.config.live import CLUSTER_WIDE, LiveSettings, read_cluster_wide
from caxton_node.config.load import shown
from caxton_node.domain.errors import (
    CaxtonError,
    Conflict,
    Failed,
    NotFound,
    Rejected,
    Unavailable,
)
from caxton_node.offer import Offer, keep_offering
from caxton_node.runtime.metadata import ClusterSetting, MetadataCounts
from caxton_node.telemetry.events import Events

__all__ = [
    "NODES_FOLDER",
    "SETTINGS_FOLDER",
    "NodeMetadata",
    "open_metadata",
    "store_settings",
]

SETTINGS_FOLDER: Final = "settings/"
"""In the store: what the whole cluster was told."""

NODES_FOLDER: Final = "nodes/"
"""In the store: what each node says of itself, for as long as it lives."""

AGAIN_AFTER_S: Final = 5.0
"""When what failed for a reason that does not pass by itself, or by a bug, begins anew."""

_log = logging.getLogger("caxton.metadata")


@asynccontextmanager
async def open_metadata(
    settings: Settings, live: LiveSettings, *, now_ms: Callable[[], int]
) -> AsyncIterator["NodeMetadata"]:
    """Open the store that the settings name, if any; it need not be there yet.

    Raises:
        Rejected: `invalid_settings`: they cannot work together.
    """
    async with AsyncExitStack() as stack:
        store: MetadataStore = NoStore(now_ms())
        try:
            wanted = store_settings(settings)
            if wanted is not None:
                store = await stack.enter_async_context(EtcdStore(wanted, now_ms=now_ms))
        except InvalidSetting as error:
            raise Rejected("invalid_settings", f"etcd cannot be used: {error}") from None
        yield NodeMetadata(store, settings, live, now_ms=now_ms)


def store_settings(settings: Settings) -> StoreSettings | None:
    """Return how etcd is reached, or None where there is none.

    Raises:
        InvalidSetting: They cannot work together.
    """
    etcd = settings.etcd
    if not etcd.endpoints:
        return None
    return StoreSettings(
        endpoints=etcd.endpoints,
        prefix=etcd.prefix,
        user=etcd.user or "",
        password=etcd.secret(),
        ca_path=etcd.ca_file,
        cert_path=etcd.cert_file,
        key_path=etcd.key_file,
        timeout_s=etcd.timeout_s,
        attempt_timeout_s=min(etcd.attempt_timeout_s, etcd.timeout_s),
    )


class NodeMetadata:
    """The `Metadata` of a node. Use `open_metadata`.

    Args:
        store: Where it is.
        settings: Of the node.
        live: Follows what the whole cluster is told.
        now_ms: Milliseconds since 1970, UTC.
    """

    def __init__(
        self,
        store: MetadataStore,
        settings: Settings,
        live: LiveSettings,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self.store = store
        self._node = settings.node.name
        self._live = live
        self._now_ms = now_ms
        self._told: dict[str, KeyValue] = {}
        self._mirror = Mirror(
            store,
            f"{NODES_FOLDER}{self._node}/",
            owner=self._node,
            ttl_s=settings.etcd.lease_ttl_s,
        )

    def start(
        self, tasks: asyncio.TaskGroup, events: Events, offer: Offer
    ) -> list[asyncio.Task[None]]:
        """Follow the cluster's settings and keep the copy up, in tasks to be cancelled.

        Args:
            tasks: Owns them.
            events: Told when the store is lost and found.
            offer: What the copy shows.
        """
        if self.state.connection is Connection.OFF:
            return []

        def tell(state: StoreState) -> None:
            connection = state.connection.value
            level = logging.INFO if state.connection is Connection.CONNECTED else logging.WARNING
            _log.log(level, "etcd is %s%s", connection, f": {state.reason}" if state.reason else "")
            events.publish("metadata.state", connection=connection, reason=state.reason)

        if self.state.connection is Connection.CONNECTED:
            tell(self.state)
        self.store.on_change(tell)
        return [
            tasks.create_task(_for_ever(work), name=name)
            for name, work in (
                ("metadata-settings", lambda: self._follow_settings(events)),
                ("metadata-mirror", self._mirror.run),
                ("metadata-offer", lambda: keep_offering(self._mirror, offer)),
            )
        ]

    # What the runtime and the edges ask.

    @property
    def state(self) -> StoreState:
        """How the store does, why, and since when."""
        return self.store.state

    @property
    def counts(self) -> MetadataCounts:
        """What it has done."""
        if not isinstance(self.store, EtcdStore):
            return MetadataCounts()
        counts = self.store.counts
        return MetadataCounts(
            calls=counts.calls,
            failures=counts.failures,
            losses=self.store.losses_count,
            member_changes=counts.member_changes,
            watch_resumptions=counts.watch_resumptions,
            relistings=counts.relistings,
            mirror_backlog=self._mirror.backlog,
            mirror_refused=self._mirror.refused_count,
        )

    def components(self) -> dict[str, str]:
        """Return how etcd does, for whoever asks whether the node can work: it can without."""
        match self.state.connection:
            case Connection.OFF:
                return {}
            case Connection.CONNECTED:
                return {"etcd": "ready"}
            case Connection.DEGRADED:
                return {"etcd": f"degraded: {self.state.reason}"}

    async def locks(self) -> Sequence[LockInfo]:
        """Return the locks that are held in the cluster, by name."""
        with _translated():
            return await self.store.locks()

    async def cluster_settings(self) -> Sequence[ClusterSetting]:
        """Return what the whole cluster was told, by key."""
        with _translated():
            snapshot = await self.store.list(SETTINGS_FOLDER)
        read = (_read_setting(item) for item in snapshot.items)
        return [setting for setting in read if setting is not None]

    async def set_cluster_setting(self, key: str, value: Any) -> ClusterSetting:
        """Tell the whole cluster; each node follows as soon as it hears."""
        checked = read_cluster_wide(key, value)
        value = shown(CLUSTER_WIDE[key], checked)
        document = {"value": value, "set_by": self._node, "set_at": self._now_ms()}
        with _translated():
            revision = await self.store.put(SETTINGS_FOLDER + key, json.dumps(document).encode())
        return ClusterSetting(key=key, revision=revision, **document)

    async def unset_cluster_setting(self, key: str) -> None:
        """Let every node follow its own value again."""
        was_there = False
        if key in CLUSTER_WIDE:
            with _translated():
                was_there = await self.store.delete(SETTINGS_FOLDER + key)
        if not was_there:
            raise NotFound("key_not_found", f"the cluster was not told {key[:100]!r}")

    # Behind the scenes.

    async def _follow_settings(self, events: Events) -> None:
        async with aclosing(self.store.watch(SETTINGS_FOLDER)) as watch:
            async for news in watch:
                before = dict(self._told)
                self._take_in(news)
                self._live.tell(self._readable())
                for key in sorted(before.keys() | self._told.keys()):
                    if before.get(key) != self._told.get(key):
                        self._publish(key, events)

    def _publish(self, key: str, events: Events) -> None:
        told = self._told.get(key)
        setting = None if told is None else _read_setting(told)
        events.publish(
            "cluster.setting",
            key=key.removeprefix(SETTINGS_FOLDER),
            value=None if setting is None else setting.value,
            set_by=None if setting is None else setting.set_by,
        )

    def _take_in(self, news: Snapshot | Change) -> None:
        match news:
            case Snapshot(items):
                self._told = {item.key: item for item in items}
            case Change(changes):
                for event in changes:
                    if isinstance(event, Gone):
                        self._told.pop(event.key, None)
                    else:
                        self._told[event.key] = event

    def _readable(self) -> dict[str, Any]:
        """Return the values by key, as far as this version of the program understands them."""
        values = {}
        for item in self._told.values():
            setting = _read_setting(item)
            try:
                if setting is None:
                    raise NotFound("key_not_found", f"{item.key!r} holds no setting")
                values[setting.key] = read_cluster_wide(setting.key, setting.value)
            except CaxtonError as error:
                # Perhaps of a later version. The others of the cluster go on with it.
                _log.warning("a setting for the whole cluster is not followed: %s", error)
        return values


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Do work that should never end, again and again."""
    while True:
        try:
            await work()
        except MetadataError as error:
            _log.warning("cluster metadata: %s", error)
        except Exception:
            # A mistake of ours in an optional part must not end a node that delivers messages.
            _log.exception("cluster metadata failed by a bug, and begins anew")
        await asyncio.sleep(AGAIN_AFTER_S)


def _read_setting(item: KeyValue) -> ClusterSetting | None:
    """Return what is at a key, or None where it is nothing that this program wrote."""
    try:
        document = json.loads(item.value)
        return ClusterSetting(
            key=item.key.removeprefix(SETTINGS_FOLDER),
            value=document["value"],
            set_by=str(document["set_by"]),
            set_at=int(document["set_at"]),
            revision=item.mod_revision,
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the library's errors into those that users meet."""
    try:
        yield
    except MetadataOff:
        raise Conflict(
            "state_conflict",
            "the node has no etcd, which this needs",
            hint="start it with --etcd",
        ) from None
    except OutcomeUnknown as error:
        raise Failed("outcome_unknown", str(error)) from None
    except MetadataRefused as error:
        raise Rejected("invalid_request", str(error)) from None
    except ClusterError as error:
        raise Unavailable("metadata_unavailable", str(error)) from None
