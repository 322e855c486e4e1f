"""What all nodes agree on through etcd: locks, and settings for the whole cluster.

It needs an etcd. Without one the cluster works and these addresses say what is missing.
"""

from typing import Any, Final

from pydantic import Field

from caxton_cluster.metadata import LockInfo
from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import Body, Cursor, Instant, Limit, Query, View, instant
from caxton_node.config.live import CLUSTER_WIDE
from caxton_node.runtime.metadata import ClusterSetting
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]


_KEY: Final = PathParameter(
    name="key",
    description="Of a setting: " + ", ".join(f"`{key}`" for key in CLUSTER_WIDE) + ".",
    pattern=r"[a-z_]{1,32}\.[a-z_]{1,32}",
    missing_code="key_not_found",
    example="log.level",
)


class LockView(View):
    """A lock that somebody holds."""

    name: str
    holder: str = Field(description="Who said so when asking for it.")
    fencing_token: int = Field(
        description="It rises with every holder: whoever brings a smaller one is refused."
    )
    lease_id: str = Field(description="The lease that it ends with, as etcd's tools write it.")
    waiting: int = Field(description="Who else wants it.")


class LockList(View):
    """A page of locks that are held, by name."""

    items: list[LockView]
    total: int
    next_cursor: str | None


class LockQuery(Query):
    """Which locks."""

    prefix: str = Field(default="", max_length=200, description="What their names begin with.")
    cursor: Cursor = ""
    limit: Limit = 50


class ClusterSettingView(View):
    """What the whole cluster was told of one setting."""

    key: str
    value: str | int | float
    set_by: str = Field(description="The node that was asked to.")
    set_at: Instant
    revision: int = Field(description="Of the store; it rises with every write.")


class ClusterSettingList(View):
    """What the whole cluster was told, by key."""

    items: list[ClusterSettingView]
    total: int
    next_cursor: None = None


class NewValue(Body):
    """A value for the whole cluster."""

    value: str | int | float = Field(description="As in the settings' file.")


def _lock_view(lock: LockInfo) -> LockView:
    return LockView(
        name=lock.name,
        holder=lock.holder,
        fencing_token=lock.token,
        lease_id=f"{lock.lease_id:x}",
        waiting=lock.waiting_count,
    )


def _setting_view(setting: ClusterSetting) -> ClusterSettingView:
    return ClusterSettingView(
        key=setting.key,
        value=setting.value,
        set_by=setting.set_by,
        set_at=instant(setting.set_at),
        revision=setting.revision,
    )


async def list_locks(request: Request[LockQuery, None], node: Node) -> LockList:
    """List the locks that are held in the cluster."""
    query = request.query
    found = [one for one in await node.metadata.locks() if one.name.startswith(query.prefix)]
    rest = [one for one in found if one.name > query.cursor]
    shown = rest[: query.limit]
    return LockList(
        items=[_lock_view(lock) for lock in shown],
        total=len(found),
        next_cursor=shown[-1].name if len(rest) > len(shown) else None,
    )


async def list_cluster_settings(_: Request[NoQuery, None], node: Node) -> ClusterSettingList:
    """List what the whole cluster was told."""
    told = await node.metadata.cluster_settings()
    return ClusterSettingList(items=[_setting_view(each) for each in told], total=len(told))


async def set_cluster_setting(
    request: Request[NoQuery, NewValue], node: Node
) -> ClusterSettingView:
    """Tell the whole cluster."""
    value: Any = request.body.value
    return _setting_view(await node.metadata.set_cluster_setting(request.path["key"], value))


async def unset_cluster_setting(request: Request[NoQuery, None], node: Node) -> Answer:
    """Let each node follow its own value again."""
    await node.metadata.unset_cluster_setting(request.path["key"])
    return Answer(None, status=204)


_CONFIG: Final = f"{API_PREFIX}/cluster/config"
_STORE_ERRORS: Final = ("state_conflict", "metadata_unavailable")

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster/locks",
        summary="List locks",
        tag="cluster",
        handle=list_locks,
        description="Of the whole cluster. It needs etcd.",
        query=LockQuery,
        responses={200: Shape("A page, by name.", LockList)},
        errors=_STORE_ERRORS,
    ),
    Endpoint(
        method="GET",
        path=_CONFIG,
        summary="List settings for the whole cluster",
        tag="cluster",
        handle=list_cluster_settings,
        description="They overrule what nodes have of their own. It needs etcd.",
        responses={200: Shape("What the whole cluster was told.", ClusterSettingList)},
        errors=_STORE_ERRORS,
    ),
    Endpoint(
        method="PUT",
        path=f"{_CONFIG}/{{key}}",
        summary="Set a setting for the whole cluster",
        tag="cluster",
        handle=set_cluster_setting,
        description="Every node follows as soon as it hears. It needs etcd.",
        parameters=(_KEY,),
        body=NewValue,
        responses={200: Shape("The whole cluster is told.", ClusterSettingView)},
        errors=(*_STORE_ERRORS, "key_not_found", "invalid_settings", "outcome_unknown"),
    ),
    Endpoint(
        method="DELETE",
        path=f"{_CONFIG}/{{key}}",
        summary="Unset a setting for the whole cluster",
        tag="cluster",
        handle=unset_cluster_setting,
        description="Every node follows its own value again. It needs etcd.",
        parameters=(_KEY,),
        responses={204: Shape("The cluster is told nothing about it any more.")},
        errors=(*_STORE_ERRORS, "key_not_found", "outcome_unknown"),
    ),
)
