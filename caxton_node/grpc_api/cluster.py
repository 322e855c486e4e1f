# ruff: noqa: N802 -- methods are called as the contract calls them
"""`caxton.v1.Cluster`: what this node knows of its cluster."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

import grpc
import msgspec

from caxton.v1 import cluster_pb2
from caxton.v1.cluster_pb2_grpc import ClusterServicer
from caxton_node.domain.errors import Place, Rejected
from caxton_node.grpc_api.asking import Asking, page_query
from caxton_node.grpc_api.wire import Spellings, show_duration, show_instant

__all__ = ["Cluster"]

STATES: Final = Spellings(cluster_pb2.MemberState.DESCRIPTOR, "MEMBER_STATE_")
MODES: Final = Spellings(cluster_pb2.PartitionMode.DESCRIPTOR, "PARTITION_MODE_")

_REACHABLE: Final = {"off": None, "connected": True, "degraded": False}
"""State of the metadata → whether etcd can be used; None where none is configured."""

_COUNTED: Final = ("alive", "suspect", "dead", "left")

_Context = grpc.aio.ServicerContext[Any, Any]


class Cluster(ClusterServicer):
    """The service.

    Args:
        asking: For what REST answers too.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def Members(self, request: Any, _: _Context) -> cluster_pb2.ClusterMembersResponse:
        """List the members by name."""
        size = int(page_query(request.page_size, "")["limit"])
        view = await self._asking.get("/cluster/members")
        wanted = STATES.word(request.state)
        found = [one for one in view["items"] if wanted in (None, one["state"])]
        after = request.page_token
        rest = [one for one in found if one["name"] > after]
        shown = rest[:size]
        return cluster_pb2.ClusterMembersResponse(
            members=map(_member, shown),
            next_page_token=shown[-1]["name"] if len(rest) > size else "",
            total=len(found),
        )

    async def Status(self, _: Any, __: _Context) -> cluster_pb2.ClusterStatusResponse:
        """Return the state of the cluster in one view."""
        view = await self._asking.get("/cluster/status")
        counts = view["members"]
        partition = view.get("partition")
        return cluster_pb2.ClusterStatusResponse(
            node_id=view["node"],
            cluster=view["label"],
            partition=None if partition is None else _partition(partition),
            members=[
                cluster_pb2.MemberCount(state=STATES.number(state), count=counts[state])
                for state in _COUNTED
                if counts[state]
            ],
            agent_count=view.get("agents") or 0,
            queued_message_count=view.get("queued_messages") or 0,
            is_registry_ready=bool(view.get("is_registry_ready")),
            is_etcd_reachable=_REACHABLE[view["metadata"]["state"]],
        )

    async def Partition(self, _: Any, __: _Context) -> cluster_pb2.ClusterPartitionResponse:
        """Return which side of a partition the node is on."""
        view = await self._asking.get("/cluster/partition")
        return cluster_pb2.ClusterPartitionResponse(
            partition=_partition(view), unreachable_nodes=view.get("unreachable") or ()
        )

    async def Watch(
        self, request: Any, _: _Context
    ) -> AsyncIterator[cluster_pb2.ClusterWatchResponse]:
        """Follow changes until the caller hangs up."""
        async with aclosing(self._asking.follow("/events", {"kind": "member."})) as events:
            # The first sign of life says that nothing is missed from here on.
            await anext(events, None)
            if request.is_with_present:
                for one in (await self._asking.get("/cluster/members"))["items"]:
                    yield cluster_pb2.ClusterWatchResponse(member=_member(one))
            async for told in events:
                if told is None:
                    continue
                data = msgspec.json.decode(told.data)
                if told.name == "lost":
                    yield cluster_pb2.ClusterWatchResponse(missed_count=data["count"])
                else:
                    yield cluster_pb2.ClusterWatchResponse(
                        at=show_instant(data["at"]), member=_member(data)
                    )

    async def Leave(self, request: Any, _: _Context) -> cluster_pb2.ClusterLeaveResponse:
        """Take the node out of the cluster."""
        if request.HasField("drain_timeout"):
            place = Place("`drain_timeout` is the node's own", field="drain_timeout", rule="form")
            raise Rejected("invalid_request", "the request breaks a rule", places=[place])
        view = await self._asking.post("/cluster/leave")
        return cluster_pb2.ClusterLeaveResponse(
            moved_agent_count=view.get("moved_agents") or 0,
            interrupted_turn_count=view.get("interrupted_turns") or 0,
        )

    async def Locks(self, request: Any, _: _Context) -> cluster_pb2.ClusterLocksResponse:
        """List the locks and leases that are held."""
        query = page_query(request.page_size, request.page_token)
        if request.prefix:
            query["prefix"] = request.prefix
        view = await self._asking.get("/cluster/locks", query)
        locks = [
            cluster_pb2.Lock(
                name=one["name"],
                holder=one["holder"],
                fencing_token=one["fencing_token"],
                acquired_at=show_instant(one.get("acquired_at")),
                expires_at=show_instant(one.get("expires_at")),
            )
            for one in view["items"]
        ]
        return cluster_pb2.ClusterLocksResponse(
            locks=locks, next_page_token=view["next_cursor"] or "", total=view["total"] or 0
        )


def _member(view: Mapping[str, Any]) -> cluster_pb2.Member:
    tags = view["tags"]
    epoch = tags.get("epoch", "")
    return cluster_pb2.Member(
        node_id=view["name"],
        state=STATES.number(view["state"]),
        incarnation=view["incarnation"] or 0,
        epoch=int(epoch) if epoch.isascii() and epoch.isdecimal() else 0,
        gossip_address=view["address"] or "",
        grpc_address=tags.get("grpc", ""),
        version=tags.get("version", ""),
        round_trip=show_duration(view.get("round_trip_ms")),
        is_self=view.get("is_self", False),
    )


def _partition(view: Mapping[str, Any]) -> cluster_pb2.PartitionView:
    return cluster_pb2.PartitionView(
        mode=MODES.number(view["mode"]),
        alive_count=view.get("alive") or 0,
        expected_count=view.get("expected") or 0,
        majority_count=view.get("majority") or 0,
        is_writable=bool(view.get("is_writable")),
        entered_at=show_instant(view.get("entered_at") or view.get("since")),
    )
