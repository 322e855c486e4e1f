"""Which agents this node starts, keeps and gives up. Pure.

Every node decides for itself, from what the registry shows it, and equal views lead to equal
decisions: there is no leader to ask and none to lose. An agent has *copies*, at most one a node.
They are ranked by (revision, epoch, node); the first is right about what the agent is, and the
first as many as are wanted stay. Where copies are missing, the nodes that fit are ranked by
rendezvous hashing, so that a node that joins moves nothing and one that dies moves only what it
had.

Views differ for moments, and a partition makes them differ for long. Then two nodes may start the
same agent; as soon as they see each other the lower copy stops and hands over what waits there.
Nothing here prevents the overlap: who needs that takes a lease.

Reference: Thaler, Ravishankar, "Using name-based mappings to increase hit rates", 1998.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

from caxton_node.domain.agent import EMPTY
from caxton_node.domain.placement import ANYWHERE, PlacementRule, Preference

__all__ = [
    "LOAD_MAX",
    "MOVE_COUNT_MAX",
    "Action",
    "Copy",
    "Follow",
    "GiveUp",
    "Move",
    "NodeView",
    "Start",
    "candidates",
    "decide",
    "fits",
    "keepers",
    "leader",
    "rebalanced",
    "weight",
]

LOAD_MAX: Final = 7
"""Load is told in this many steps above idle, so that small changes do not reach the others."""

MOVE_COUNT_MAX: Final = 1_000
"""Moves of one rebalancing; ask again for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A live node, as far as placement is concerned."""

    name: str
    labels: Mapping[str, str] = EMPTY
    load: int = 0
    """0, idle, to `LOAD_MAX`."""
    is_draining: bool = False
    """It is about to leave: it takes no agents, and others take its own."""
    handlers: tuple[str, ...] = ()
    """The Python classes, or patterns of them, that its operator allows."""
    refused: frozenset[str] = frozenset()
    """Digests of definitions that it could not bring into force."""
    is_silent: bool = False
    """It is alive and has not told of itself yet: it keeps what it has and gets nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An agent on a node, as the node's record says."""

    agent: str
    node: str
    revision: int
    """Raised whenever the agent becomes another one: deployed, rolled back, scaled, placed anew."""
    epoch: int
    """Raised whenever a node takes the agent over. It fences those that ran it before; the
    replicas that stay follow."""
    digest: str
    """Of the definition."""
    replicas: int = 1
    rule: PlacementRule = ANYWHERE
    handler: str = ""
    """The class of a Python agent."""

    @property
    def rank(self) -> tuple[int, int, str]:
        """The higher one is right."""
        return (self.revision, self.epoch, self.node)


@dataclass(frozen=True, slots=True)
class Start:
    """Take an agent over."""

    like: Copy
    """What to run: the first of all copies, on whatever node that is or was."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Follow:
    """Run what the first copy says, with its placement and under its epoch."""

    like: Copy


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop a copy: enough others are there. What waits goes to them."""

    agent: str
    successor: str
    """A node that runs it."""


Action = Start | Follow | GiveUp


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a rebalancing."""

    agent: str
    source: str
    target: str


def leader(copies: Iterable[Copy]) -> Copy:
    """Return the copy that is right about what the agent is."""
    return max(copies, key=lambda copy: copy.rank)


def fits(node: NodeView, like: Copy) -> bool:
    """Return whether a node may take an agent."""
    return (
        not (node.is_draining or node.is_silent)
        and like.rule.fits(node.name, node.labels)
        and like.digest not in node.refused
        and (not like.handler or any(fnmatchcase(like.handler, one) for one in node.handlers))
    )


def candidates(nodes: Mapping[str, NodeView], like: Copy) -> list[str]:
    """Return the nodes that may take an agent, the one to take it first."""
    fitting = [node for node in nodes.values() if fits(node, like)]
    spread = {node.name: weight(like.agent, node.name) for node in fitting}
    match like.rule.preference:
        case Preference.SPREAD:
            fitting.sort(key=lambda node: spread[node.name], reverse=True)
        case Preference.PACK:
            fitting.sort(key=lambda node: weight("", node.name), reverse=True)
        case Preference.LEAST_LOADED:
            fitting.sort(key=lambda node: (node.load, -spread[node.name]))
    return [node.name for node in fitting]


def weight(key: str, node: str) -> int:
    """Return how much a node is the one for a key: everyone who asks gets the same number.

    Of several nodes take the one with the highest: when one goes, only its keys go elsewhere.
    """
    digest = blake2b(f"{key}\0{node}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def keepers(nodes: Mapping[str, NodeView], copies: Sequence[Copy], like: Copy) -> list[Copy]:
    """Return the copies that stay, the first one first.

    Copies where the agent does not belong (any more) stay only while there is nowhere to go.

    Args:
        nodes: The live ones.
        copies: Of one agent, on live nodes or not.
        like: The first of them.
    """
    live = sorted(
        (copy for copy in copies if copy.node in nodes), key=lambda copy: copy.rank, reverse=True
    )
    settled = [copy for copy in live if nodes[copy.node].is_silent or fits(nodes[copy.node], like)]
    if not settled and not candidates(nodes, like):
        settled = live
    return settled[: like.replicas]


def decide(
    nodes: Mapping[str, NodeView],
    agents: Mapping[str, Sequence[Copy]],
    *,
    own: str,
    may_take: bool,
    passed_count: int = 0,
) -> list[Action]:
    """Return what this node does about its own copies and about missing ones.

    Args:
        nodes: The live nodes, this one among them.
        agents: Every agent's copies, those of dead nodes included.
        own: This node's name.
        may_take: Whether agents of others may be taken over: only on the side of a partition
            that has the majority.
        passed_count: How many candidates had their time to take a missing agent over and did not:
            so many more may.
    """
    actions: list[Action] = []
    for copies in agents.values():
        if copies:
            actions += _about(nodes, copies, own, may_take=may_take, passed_count=passed_count)
    return actions


def _about(
    nodes: Mapping[str, NodeView],
    copies: Sequence[Copy],
    own: str,
    *,
    may_take: bool,
    passed_count: int,
) -> list[Action]:
    like = leader(copies)
    staying = keepers(nodes, copies, like)
    mine = next((copy for copy in copies if copy.node == own), None)
    if mine is not None:
        if mine in staying:
            return [] if _agrees(mine, like) else [Follow(like)]
        fitting_count = len(candidates(nodes, like))
        if staying and len(staying) >= min(like.replicas, fitting_count):
            return [GiveUp(like.agent, staying[0].node)]
        return []
    if not may_take:
        return []
    missing_count = like.replicas - len(staying)
    if missing_count <= 0:
        return []
    taken = {copy.node for copy in copies if copy.node in nodes}
    free = [node for node in candidates(nodes, like) if node not in taken]
    if own not in free[: missing_count + passed_count]:
        return []
    return [Start(like, max(copy.epoch for copy in copies) + 1)]


def _agrees(mine: Copy, like: Copy) -> bool:
    return (mine.revision, mine.epoch, mine.digest, mine.replicas, mine.rule) == (
        like.revision,
        like.epoch,
        like.digest,
        like.replicas,
        like.rule,
    )


def rebalanced(nodes: Mapping[str, NodeView], agents: Mapping[str, Sequence[Copy]]) -> list[Move]:
    """Return moves after which no node has two copies more than another, where the rules allow.

    Nothing moves by itself when a node joins: the agents of a busy cluster would wander. This is
    for when somebody asks, and for one node to carry out: `MOVE_COUNT_MAX` moves at a time.
    Agents that are packed stay where they are.
    """
    homes = {
        agent: {copy.node: copy for copy in keepers(nodes, copies, leader(copies))}
        for agent, copies in agents.items()
        if copies
    }
    held: dict[str, set[str]] = {
        name: set() for name, node in nodes.items() if not node.is_draining
    }
    for agent, copies_by_node in homes.items():
        for node in copies_by_node:
            held.setdefault(node, set()).add(agent)
    moves: list[Move] = []
    stuck: set[str] = set()
    while len(moves) < MOVE_COUNT_MAX and len(stuck) < len(held):
        source = max(held.keys() - stuck, key=lambda node: (len(held[node]), node))
        step = _step_from(source, nodes, homes, held)
        if step is None:
            stuck.add(source)
            continue
        moves.append(step)
        held[step.source].remove(step.agent)
        held[step.target].add(step.agent)
        moved = homes[step.agent].pop(step.source)
        first = leader([moved, *homes[step.agent].values()])
        homes[step.agent][step.target] = replace(first, node=step.target, epoch=first.epoch + 1)
    return moves


def _step_from(
    source: str,
    nodes: Mapping[str, NodeView],
    homes: Mapping[str, Mapping[str, Copy]],
    held: Mapping[str, set[str]],
) -> Move | None:
    for target in sorted(held, key=lambda node: (len(held[node]), node)):
        if len(held[source]) - len(held[target]) < 2:
            return None
        movable = [
            agent
            for agent in held[source]
            if target not in homes[agent] and _may_move(homes[agent], source, nodes[target])
        ]
        if movable:
            return Move(max(movable, key=lambda agent: weight(agent, target)), source, target)
    return None


def _may_move(homes: Mapping[str, Copy], source: str, target: NodeView) -> bool:
    """Return whether a copy may go: the target's will be the first, and the last one gives up."""
    like = homes[source]
    return (
        like.rule.preference is not Preference.PACK
        and like.rank == min(copy.rank for copy in homes.values())
        and fits(target, like)
    )
