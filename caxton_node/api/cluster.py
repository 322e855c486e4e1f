"""The ring of nodes: who is there, leaving it, and the keys that keep strangers out.

What is shown is what this node believes. Keys go in and never come out: they are told apart by
their fingerprints. A node outside of any ring is a ring of one, which cannot be left.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from caxton_node.api.partition_view import DRAIN_S_MAX, PartitionView, show_partition
from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import Body, Instant, View, instant
from caxton_node.config.kinds import decode_key
from caxton_node.domain.errors import Conflict
from caxton_node.runtime.fleet import FailoverState, Fleet
from caxton_node.runtime.node import Node
from caxton_node.runtime.ring import (
    KeyOutcome,
    MemberState,
    Ring,
    RingKey,
    RingKeyChange,
    RingKeyList,
    RingMember,
)

__all__ = ["ENDPOINTS"]

_FINGERPRINT: Final = PathParameter(
    name="fingerprint",
    description="Of an encryption key.",
    pattern="[0-9a-f]{16}",
    missing_code="key_not_found",
    example="9f86d081884c7d65",
)

_KEY_PATTERN: Final = "^(?:[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{32}|[A-Za-z0-9+/]{43}=)$"
"""Base64 of 16, 24 or 32 bytes."""


class MemberView(View):
    """A node, as the one that was asked believes it to be."""

    name: str
    state: MemberState
    incarnation: int | None = Field(
        description="Raised by the node itself only. Null outside of any ring."
    )
    address: str | None = Field(description="Where the ring reaches it.")
    tags: dict[str, str] = Field(
        description="What the node says of itself: `role`, `version`, `epoch` (milliseconds since "
        "1970 at its start), `http` (where its API is) and `grpc` (where other nodes dial it)."
    )
    is_self: bool
    local_health: int | None = Field(
        description="How much the node doubts itself: 0 is well, 7 the worst. Each knows its own."
    )
    round_trip_ms: float | None = Field(description="Of the last direct probe, to the millisecond.")


class MemberList(View):
    """All nodes by name, those gone of late included."""

    items: list[MemberView]
    total: int
    next_cursor: None = None


class MemberTotals(View):
    """Nodes by state."""

    total: int
    alive: int
    suspect: int
    dead: int
    left: int


class MetadataStatus(View):
    """Cluster metadata in etcd, which a cluster may also go without."""

    state: Literal["off", "connected", "degraded"] = Field(
        description="`off` where no etcd is configured."
    )
    reason: str = Field(description="Why it is degraded or off; empty while connected.")
    since: Instant


class FailoverStatus(View):
    """By what right the node takes over the agents of dead nodes."""

    right: Literal["majority", "lease", "degraded", "withheld"] = Field(
        description="`majority`: a majority of nodes answers, and there is no etcd. `lease`: it "
        "holds a lock in etcd besides. `degraded`: a majority alone, because no node reaches etcd. "
        "`withheld`: it takes none over, because others reach etcd and it does not."
    )
    granted: int = Field(description="Attempts that got the right, since the node started.")
    refused: int = Field(description="Attempts that did not; they are made again.")


class ClusterStatus(View):
    """The ring, as the node that was asked sees it."""

    node: str
    state: Literal["off", "alone", "joining", "joined", "left"] = Field(
        description="`off` outside of any ring; `alone` when it knows of nobody and was told of "
        "nobody; `joining` while it looks for its peers."
    )
    address: str | None = Field(description="Where the ring reaches the node.")
    label: str
    is_encrypted: bool
    local_health: int | None
    members: MemberTotals
    datagrams_dropped: int
    problems: list[str] = Field(description="What went wrong of late without stopping anything.")
    metadata: MetadataStatus
    failover: FailoverStatus
    partition: PartitionView
    agents: int = Field(description="Names of agents in the whole cluster.")
    is_registry_ready: bool = Field(
        description="Whether the node has heard what the others run since it started."
    )


class Goodbye(View):
    """What came of leaving."""

    is_announced: bool = Field(description="There was time to tell the others.")
    moved_agents: int = Field(description="Agents that run elsewhere now.")
    left: list[str] = Field(
        description="Agents that are still here: no other node may run them, or the time was up."
    )


class Leave(Body):
    """How to leave."""

    drain_timeout_s: float = Field(
        default=30.0, ge=0.0, le=DRAIN_S_MAX, description="For handing agents over, in seconds."
    )


class Join(Body):
    """Whom to join."""

    peers: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(
        default_factory=list,
        max_length=100,
        description="Members by `host:port`, any one will do. Without any: those of the settings.",
    )


class Joined(View):
    """A ring was joined."""

    through: str = Field(description="The address that answered.")


class KeyOutcomeView(View):
    """What became of it on each node that seems to be alive."""

    done: list[str] = Field(description="Nodes that did it.")
    failed: dict[str, str] = Field(description="Nodes that would not, and why.")
    silent: list[str] = Field(description="Nodes that did not answer. Ask again.")
    is_complete: bool = Field(description="Every node did it.")


class KeyView(View):
    """An encryption key, without the key."""

    fingerprint: str
    is_in_use: bool = Field(description="This node encrypts with it; the others only decrypt.")
    held_by: int = Field(description="Nodes that answered and hold it.")
    used_by: int = Field(
        description="Nodes that answered and encrypt with it. Old agents of serf do not say."
    )


class KeyList(View):
    """The keys of the ring, the one that this node uses first."""

    items: list[KeyView]
    total: int
    next_cursor: None = None
    nodes: KeyOutcomeView


class KeyChange(View):
    """A key that was changed."""

    fingerprint: str
    nodes: KeyOutcomeView


def _read_key(value: Any) -> Any:
    return decode_key(value) if isinstance(value, str) else value


class NewKey(Body):
    """A key to install."""

    key: Annotated[
        bytes,
        BeforeValidator(_read_key),
        WithJsonSchema({"type": "string", "pattern": _KEY_PATTERN}),
    ] = Field(description="16, 24 or 32 bytes in base64. It is never shown again.")


def _members(node: Node) -> list[MemberView]:
    if node.ring is None:
        tags = {"role": "caxton", "version": node.version}
        return [
            MemberView(
                name=node.name,
                state="alive",
                incarnation=None,
                address=None,
                tags=tags,
                is_self=True,
                local_health=None,
                round_trip_ms=None,
            )
        ]
    return [_view(member, node.ring) for member in node.ring.members()]


def _view(member: RingMember, ring: Ring) -> MemberView:
    trip_s = member.round_trip_s
    return MemberView(
        name=member.name,
        state=member.state,
        incarnation=member.incarnation,
        address=member.address,
        tags=dict(member.tags),
        is_self=member.is_self,
        local_health=ring.local_health if member.is_self else None,
        round_trip_ms=None if trip_s is None else round(trip_s * 1000, 3),
    )


def _ring(node: Node) -> Ring:
    if node.ring is None:
        raise Conflict(
            "state_conflict",
            f"the node {node.name!r} is in no ring",
            hint="start it with --gossip or --peers",
        )
    return node.ring


async def list_members(_: Request[NoQuery, None], node: Node) -> MemberList:
    """List the nodes of the ring."""
    members = _members(node)
    return MemberList(items=members, total=len(members))


async def get_cluster_status(_: Request[NoQuery, None], node: Node) -> ClusterStatus:
    """Say how the ring does."""
    states = [member.state for member in _members(node)]
    ring, fleet = node.ring, None if node.cluster is None else node.cluster.fleet
    return ClusterStatus(
        node=node.name,
        state="off" if ring is None else ring.state,
        address=None if ring is None else ring.address,
        label="" if ring is None else ring.label,
        is_encrypted=ring is not None and ring.is_encrypted,
        local_health=None if ring is None else ring.local_health,
        members=MemberTotals(
            total=len(states),
            alive=states.count("alive"),
            suspect=states.count("suspect"),
            dead=states.count("dead"),
            left=states.count("left"),
        ),
        datagrams_dropped=0 if ring is None else ring.datagrams_dropped_count,
        problems=[] if ring is None else list(ring.problems),
        metadata=_metadata_status(node),
        failover=_failover_status(fleet),
        partition=show_partition(node),
        agents=len(node.roster) if fleet is None else len(fleet.agent_names()),
        is_registry_ready=fleet is None or not fleet.waiting_for,
    )


def _metadata_status(node: Node) -> MetadataStatus:
    state = node.metadata.state
    return MetadataStatus(
        state=state.connection.value, reason=state.reason, since=instant(state.since_ms)
    )


def _failover_status(fleet: Fleet | None) -> FailoverStatus:
    """Return the right; a node in no ring has nobody to take anything from."""
    state = FailoverState("majority", 0, 0) if fleet is None else fleet.failover
    return FailoverStatus(
        right=state.right, granted=state.granted_count, refused=state.refused_count
    )


async def leave_cluster(request: Request[NoQuery, Leave | None], node: Node) -> Goodbye:
    """Hand all agents over and say goodbye to the ring; the node goes on alone."""
    ring = _ring(node)
    leave = request.body or Leave()
    moved_count, left = 0, []
    if node.cluster is not None:
        drained = await node.cluster.fleet.drain(leave.drain_timeout_s)
        moved_count, left = drained.moved_count, list(drained.left)
    is_announced = await ring.leave()
    if node.cluster is not None:
        node.cluster.go_alone()
    return Goodbye(is_announced=is_announced, moved_agents=moved_count, left=left)


async def join_cluster(request: Request[NoQuery, Join | None], node: Node) -> Joined:
    """Join the ring of a peer, again or for the first time."""
    peers = request.body.peers if request.body else []
    through = await _ring(node).join(peers)
    if node.cluster is not None:
        node.cluster.come_back()
    return Joined(through=through)


def _key_view(key: RingKey) -> KeyView:
    return KeyView(
        fingerprint=key.fingerprint,
        is_in_use=key.is_in_use,
        held_by=key.holder_count,
        used_by=key.user_count,
    )


def _outcome_view(outcome: KeyOutcome) -> KeyOutcomeView:
    return KeyOutcomeView(
        done=list(outcome.done),
        failed=dict(outcome.failed),
        silent=list(outcome.silent),
        is_complete=not outcome.failed and not outcome.silent,
    )


def _change_view(change: RingKeyChange) -> KeyChange:
    return KeyChange(fingerprint=change.fingerprint, nodes=_outcome_view(change.outcome))


async def list_keys(_: Request[NoQuery, None], node: Node) -> KeyList:
    """List the fingerprints of the keys of all nodes."""
    if node.ring is None:
        listed = RingKeyList((), KeyOutcome((), {}, ()))
    else:
        listed = await node.ring.keys.list()
    return KeyList(
        items=[_key_view(key) for key in listed.keys],
        total=len(listed.keys),
        nodes=_outcome_view(listed.outcome),
    )


async def install_key(request: Request[NoQuery, NewKey], node: Node) -> Answer:
    """Let every node decrypt with one more key."""
    change = await _ring(node).keys.install(request.body.key)
    return Answer(_change_view(change), status=201)


async def use_key(request: Request[NoQuery, None], node: Node) -> KeyChange:
    """Let every node encrypt with an installed key from now on."""
    return _change_view(await _ring(node).keys.use(request.path["fingerprint"]))


async def remove_key(request: Request[NoQuery, None], node: Node) -> KeyChange:
    """Let every node forget a key."""
    return _change_view(await _ring(node).keys.remove(request.path["fingerprint"]))


_KEYS: Final = f"{API_PREFIX}/cluster/keys"

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster/members",
        summary="List the nodes of the ring",
        tag="cluster",
        handle=list_members,
        description="As this node believes. Outside of any ring there is one: itself.",
        responses={200: Shape("All of them.", MemberList)},
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/cluster/status",
        summary="Ask how the ring does",
        tag="cluster",
        handle=get_cluster_status,
        responses={200: Shape("As this node sees it.", ClusterStatus)},
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/cluster/leave",
        summary="Leave the ring",
        tag="cluster",
        handle=leave_cluster,
        description="Agents go to the other nodes first, with what waits for them. The node goes "
        "on alone, with those that nobody else may run, until it joins again.",
        body=Leave,
        is_body_optional=True,
        deadline_s=DRAIN_S_MAX + 10.0,
        responses={200: Shape("It has left.", Goodbye)},
        errors=("state_conflict",),
        is_while_draining=True,
    ),
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/cluster/join",
        summary="Join a ring",
        tag="cluster",
        handle=join_cluster,
        description="The way back after leaving, and the way in for a node that was told of "
        "nobody. Rings that meet become one.",
        body=Join,
        is_body_optional=True,
        responses={200: Shape("It has joined.", Joined)},
        errors=("state_conflict", "unreachable"),
    ),
    Endpoint(
        method="GET",
        path=_KEYS,
        summary="List encryption keys",
        tag="cluster",
        handle=list_keys,
        description="Every node is asked. By fingerprint: the first 16 digits of the SHA-256.",
        responses={200: Shape("All of them; none where nothing is encrypted.", KeyList)},
    ),
    Endpoint(
        method="POST",
        path=_KEYS,
        summary="Install an encryption key",
        tag="cluster",
        handle=install_key,
        description="On every node, agents of serf in the ring included, and until it stops: "
        "change their settings too. The order of a rotation: install the new key, use it, remove "
        "the old one.",
        body=NewKey,
        responses={201: Shape("It is installed here; see what the others did.", KeyChange)},
        errors=("state_conflict",),
    ),
    Endpoint(
        method="POST",
        path=f"{_KEYS}/{{fingerprint}}/use",
        summary="Encrypt with an installed key",
        tag="cluster",
        handle=use_key,
        parameters=(_FINGERPRINT,),
        description="Refused until every node that seems to be alive says that it holds the key.",
        responses={200: Shape("It is in use here; see what the others did.", KeyChange)},
        errors=("key_not_found", "state_conflict"),
    ),
    Endpoint(
        method="DELETE",
        path=f"{_KEYS}/{{fingerprint}}",
        summary="Forget an encryption key",
        tag="cluster",
        handle=remove_key,
        parameters=(_FINGERPRINT,),
        description="Refused while any node encrypts with it, or does not say.",
        responses={200: Shape("It is forgotten here; see what the others did.", KeyChange)},
        errors=("key_not_found", "state_conflict"),
    ),
)
