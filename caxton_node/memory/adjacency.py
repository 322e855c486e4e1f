"""The relations that are true now, in memory: what a walk follows without asking the database.

One graph a scope, so that a walk cannot leave it. Each entity has its relations in both
directions, strongest first; a relation is a number into columns. A graph is read from the rows
when a walk first wants it (`graph_reading`) and is brought up to date after each commit, before
anybody is told of it. What deletes drops the graph, and the next walk reads it again. Nothing of
it is on disk.

The writer's thread changes it, readers' threads walk it, without a lock: the arrays of an entity
are replaced, never changed, and a relation's columns are there before an array names it.
"""

from array import array
from bisect import insort
from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import Any, Final, TypeAlias

import msgspec

from caxton_node.memory.records import Entity, Interval, Relation, Scope, Source
from caxton_node.memory.walking import Edge, Walk

__all__ = ["RELATIONS_KEPT_MAX", "Filling", "Graphs", "NewEdge", "ScopeGraph"]

RELATIONS_KEPT_MAX: Final = 1_000_000
"""In all graphs together, at about 200 bytes each with its share of entities. The graph that was
walked longest ago goes first; a scope with more of its own is walked in the database."""

MISSED_MAX: Final = 100_000
"""Changes while a graph is read. With more of them it is not taken, and read again later."""

Slots: TypeAlias = "array[int]"
"""Numbers of relations, strongest first."""

_NONE: Final[Slots] = array("I")


class NewEdge(msgspec.Struct, frozen=True, kw_only=True):
    """A current relation as its row is after a write."""

    id: int
    source: int
    target: int
    type: str
    strength: float
    confidence: float
    since: int
    origin: Source


class _Node:
    __slots__ = ("entity", "incoming", "outgoing")

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.outgoing = self.incoming = _NONE


class ScopeGraph:
    """The entities of one scope and what joins them.

    Args:
        scope: Whose it is.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.used_at = 0
        """When it was last walked: a number that grows."""
        self._nodes: dict[int, _Node] = {}
        self._ids = array("q")
        self._sources = array("q")
        self._targets = array("q")
        self._strengths = array("d")
        self._confidences = array("d")
        self._since = array("q")
        self._types: list[str] = []
        self._origins: list[Source] = []
        # The same text or source is kept once.
        self._same_types: dict[str, str] = {}
        self._same_origins: dict[tuple[str, str, str, str], Source] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, entity: int) -> bool:
        return entity in self._nodes

    # For readers' threads.

    def entity(self, entity: int) -> Entity | None:
        """Return an entity of the scope."""
        node = self._nodes.get(entity)
        return None if node is None else node.entity

    def sides(self, entity: int, plan: Walk) -> tuple[list[Edge], list[Edge]]:
        """Return the strongest relations from and to an entity that the plan follows."""
        node = self._nodes.get(entity)
        if node is None:
            return [], []
        return (
            self._followed(node.outgoing, self._targets, plan),
            self._followed(node.incoming, self._sources, plan),
        )

    def _followed(self, slots: Slots, ends: Sequence[int], plan: Walk) -> list[Edge]:
        strengths, weakest, types = self._strengths, plan.strength_min, plan.types
        if types:
            slots = self._of_types(slots, plan)
        found: list[Edge] = []
        for slot in slots[: plan.fan_out]:
            strength = strengths[slot]
            if strength < weakest:
                break
            found.append((slot, ends[slot], strength))
        return found

    def _of_types(self, slots: Slots, plan: Walk) -> Slots:
        fitting = (slot for slot in slots if self._types[slot] in plan.types)
        return array("I", islice(fitting, plan.fan_out))

    def relation(self, slot: int) -> Relation | None:
        """Return a relation by its slot, if both ends are known."""
        source, target = self._sources[slot], self._targets[slot]
        one, other = self._nodes.get(source), self._nodes.get(target)
        if one is None or other is None:
            return None
        return Relation(
            id=self._ids[slot],
            scope=self.scope,
            source_entity=one.entity.name,
            target_entity=other.entity.name,
            source_id=source,
            target_id=target,
            type=self._types[slot],
            strength=self._strengths[slot],
            confidence=self._confidences[slot],
            valid=Interval(start=self._since[slot]),
            source=self._origins[slot],
        )

    # For the writer's thread.

    def put(self, change: Entity | NewEdge) -> None:
        """Add an entity or a relation between such, or say what has become of it."""
        if isinstance(change, Entity):
            self._put_entity(change)
        else:
            self._put_edge(change)

    def _put_entity(self, entity: Entity) -> None:
        node = self._nodes.get(entity.id)
        if node is None:
            self._nodes[entity.id] = _Node(entity)
        else:
            node.entity = entity

    def _put_edge(self, edge: NewEdge) -> None:
        source, target = self._nodes[edge.source], self._nodes[edge.target]
        slot = self._slot_of(edge, source, target)
        if slot is None:
            slot = self._append(edge)
        else:
            source.outgoing = array("I", (one for one in source.outgoing if one != slot))
            target.incoming = array("I", (one for one in target.incoming if one != slot))
            self._strengths[slot], self._confidences[slot] = edge.strength, edge.confidence
        source.outgoing = self._with(source.outgoing, slot)
        target.incoming = self._with(target.incoming, slot)

    def _slot_of(self, edge: NewEdge, source: _Node, target: _Node) -> int | None:
        fewer = min(source.outgoing, target.incoming, key=len)
        return next((slot for slot in fewer if self._ids[slot] == edge.id), None)

    def _with(self, slots: Slots, slot: int) -> Slots:
        changed = slots[:]
        insort(changed, slot, key=lambda one: (-self._strengths[one], self._ids[one]))
        return changed

    def _append(self, edge: NewEdge) -> int:
        slot = len(self._ids)
        self._sources.append(edge.source)
        self._targets.append(edge.target)
        self._strengths.append(edge.strength)
        self._confidences.append(edge.confidence)
        self._since.append(edge.since)
        self._types.append(self._same_types.setdefault(edge.type, edge.type))
        origin = edge.origin
        self._origins.append(
            self._same_origin(origin.agent, origin.conversation_id, origin.message_id, origin.model)
        )
        self._ids.append(edge.id)
        return slot

    def read_entities(self, entities: Iterable[Entity]) -> None:
        """Take up all entities of a scope; before its relations."""
        for entity in entities:
            self._nodes[entity.id] = _Node(entity)

    def read_relations(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take up relations of a scope: the columns of a `NewEdge`, the origin as four texts.

        In the order of their ids; `join` makes them known to their entities.
        """
        columns = list(zip(*rows, strict=True))
        ids, sources, targets, types, strengths, confidences, since, *origin = columns
        self._ids.extend(ids)
        self._sources.extend(sources)
        self._targets.extend(targets)
        self._strengths.extend(strengths)
        self._confidences.extend(confidences)
        self._since.extend(since)
        self._types.extend(map(self._same_types.setdefault, types, types))
        self._origins.extend(map(self._same_origin, *origin))

    def _same_origin(self, agent: str, conversation: str, message: str, model: str) -> Source:
        key = (agent, conversation, message, model)
        known = self._same_origins.get(key)
        if known is None:
            known = self._same_origins[key] = Source(
                agent=agent, conversation_id=conversation, message_id=message, model=model
            )
        return known

    def join(self) -> None:
        """Give every entity its relations, strongest first, of like ones the oldest."""
        nodes, sources, targets = self._nodes, self._sources, self._targets
        order = sorted(range(len(self._ids)), key=self._strengths.__getitem__, reverse=True)
        for slot in order:
            source, target = nodes.get(sources[slot]), nodes.get(targets[slot])
            if source is None or target is None:
                continue  # newer than the page of its entity: it comes with what was noted
            if source.outgoing is _NONE:
                source.outgoing = array("I")
            if target.incoming is _NONE:
                target.incoming = array("I")
            source.outgoing.append(slot)
            target.incoming.append(slot)


class Filling:
    """The changes that a graph has missed while it is read from the rows."""

    __slots__ = ("missed",)

    def __init__(self) -> None:
        self.missed: list[Entity | NewEdge] = []


class Graphs:
    """The graphs of the scopes that are walked.

    `get` is for any thread, and so is `give_up`; everything else for the writer's.
    """

    def __init__(self) -> None:
        self._graphs: dict[int, ScopeGraph] = {}
        self._fillings: dict[int, Filling] = {}
        self._uses = count(1)

    def get(self, scope: int) -> ScopeGraph | None:
        """Return the graph of a scope, if it is in memory and says what the rows say."""
        graph = self._graphs.get(scope)
        if graph is not None:
            graph.used_at = next(self._uses)
        return graph

    def has(self, scope: int) -> bool:
        """Whether a change of a scope has to be told here."""
        return scope in self._graphs or scope in self._fillings

    def put(self, scope: int, change: Entity | NewEdge) -> None:
        """Say what has become of an entity or a relation."""
        graph, filling = self._graphs.get(scope), self._fillings.get(scope)
        if graph is not None:
            graph.put(change)
            if len(graph) > RELATIONS_KEPT_MAX:
                del self._graphs[scope]
        elif filling is not None:
            filling.missed.append(change)
            if len(filling.missed) > MISSED_MAX:
                self._fillings.pop(scope, None)

    def drop(self, scopes: Iterable[int]) -> None:
        """Forget the graphs of scopes in which something was deleted."""
        for scope in scopes:
            self._graphs.pop(scope, None)
            self._fillings.pop(scope, None)

    def clear(self) -> None:
        """Forget all: something went wrong."""
        self._graphs.clear()
        self._fillings.clear()

    def begin(self, scope: int) -> Filling | None:
        """Note what changes from now on, until `finish`; None when somebody else does."""
        if self.has(scope):
            return None
        filling = self._fillings[scope] = Filling()
        return filling

    def finish(self, scope: int, filling: Filling, graph: ScopeGraph) -> None:
        """Take up a graph that was read after `begin`, with what it has missed.

        What it has not missed is told again and changes nothing. Where something was deleted
        meanwhile, the graph is not taken.
        """
        if self._fillings.get(scope) is not filling:
            return
        del self._fillings[scope]
        for change in filling.missed:
            graph.put(change)
        if len(graph) > RELATIONS_KEPT_MAX:
            return
        while sum(map(len, self._graphs.values())) + len(graph) > RELATIONS_KEPT_MAX:
            oldest = min(self._graphs, key=lambda one: self._graphs[one].used_at)
            del self._graphs[oldest]
        graph.used_at = next(self._uses)
        self._graphs[scope] = graph

    def give_up(self, scope: int, filling: Filling) -> None:
        """End a filling that nobody finished."""
        if self._fillings.get(scope) is filling:
            self._fillings.pop(scope, None)
