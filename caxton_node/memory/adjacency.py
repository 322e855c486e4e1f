"""The relations that are true now, in memory: what a walk follows without asking the database.

One graph a scope, so that a walk cannot leave it. A graph is read from the rows when a walk first
wants it (`graph_reading`) and is brought up to date after each commit, before anybody is told of
it. What deletes drops the graph, and the next walk reads it again. Nothing of it is on disk.

What takes the time of a walk is waiting for memory. So an entity's relations, with their far ends
and strongest first, are one piece of bytes a direction, and so is all that a relation says.

The writer's thread changes a graph, readers' threads walk it, without a lock: the bytes of an
entity are replaced, never changed, and a relation's record is there before they name it.
"""

import importlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import count, islice, starmap
from struct import Struct
from typing import Any, Final

import msgspec

from caxton_node.memory.records import Entity, Interval, Relation, Scope, Source
from caxton_node.memory.walking import Walk

__all__ = ["FRONTIER", "RELATIONS_KEPT_MAX", "Filling", "Graphs", "NewEdge", "ScopeGraph"]

RELATIONS_KEPT_MAX: Final = 1_000_000
"""In all graphs together, at about 250 bytes each with its share of entities. The graph that was
walked longest ago goes first; a scope with more of its own is walked in the database."""

MISSED_MAX: Final = 100_000
"""Changes while a graph is read. With more of them it is not taken, and read again later."""

_EDGE: Final = Struct("<Iqd")
"""Number of the relation, far end, strength: what `frontier` reads."""

FRONTIER: Final = "caxton_node.memory.frontier"
"""Imported when a graph is read: numbers in bulk take as much memory as a quarter of the node."""

_RECORD: Final = Struct("<qqqddqII")
"""Id, source, target, strength, confidence, since, numbers of the type and of the origin."""


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


class _Node(msgspec.Struct, gc=False):
    """An entity with its relations. Not for the collector, who would look at all of them."""

    entity: Entity
    outgoing: bytes = b""
    incoming: bytes = b""


class _Known:
    """Values that occur again and again, by number."""

    __slots__ = ("_numbers", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number_of(self, value: Any) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


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
        self._records = bytearray()
        self._types, self._origins = _Known(), _Known()
        # While it is read: sources, targets and strengths, by number.
        self._read = (array("q"), array("q"), array("d"))

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __contains__(self, entity: int) -> bool:
        return entity in self._nodes

    # For readers' threads.

    def entity(self, entity: int) -> Entity | None:
        """Return an entity of the scope."""
        node = self._nodes.get(entity)
        return None if node is None else node.entity

    def edges_of(self, layer: Iterable[int], plan: Walk) -> tuple[bytes, bool]:
        """Return the strongest relations from and to entities, and whether one may have more.

        Those of each entity and direction up to the plan's fan-out, packed; also such as are too
        weak to be followed.
        """
        nodes, most = self._nodes, plan.fan_out * _EDGE.size
        sides = [
            side
            for one in layer
            if (node := nodes.get(one)) is not None
            for side in (node.outgoing, node.incoming)
            if side
        ]
        if plan.types:
            sides = [self._of_types(side, plan) for side in sides]
        is_full = any(
            len(side) >= most and _EDGE.unpack_from(side, most - _EDGE.size)[2] >= plan.strength_min
            for side in sides
        )
        return b"".join([side[:most] for side in sides]), is_full

    def _of_types(self, edges: bytes, plan: Walk) -> bytes:
        fitting = (one for one in _EDGE.iter_unpack(edges) if self._type(one[0]) in plan.types)
        return b"".join([_EDGE.pack(*one) for one in islice(fitting, plan.fan_out)])

    def _type(self, slot: int) -> str:
        return str(self._types.values[self._record(slot)[6]])

    def _record(self, slot: int) -> tuple[Any, ...]:
        return _RECORD.unpack_from(self._records, slot * _RECORD.size)

    def relations(self, slots: Iterable[int]) -> list[Relation]:
        """Return relations by their numbers, in their order; both ends are entities of the scope.

        All that the loop touches has a name here: a walk shows hundreds.
        """
        records, nodes, scope = self._records, self._nodes, self.scope
        types, origins = self._types.values, self._origins.values
        unpack, size = _RECORD.unpack_from, _RECORD.size
        return [
            Relation(
                id=one,
                scope=scope,
                source_entity=nodes[source].entity.name,
                target_entity=nodes[target].entity.name,
                source_id=source,
                target_id=target,
                type=types[kind],
                strength=strength,
                confidence=confidence,
                valid=Interval(start=since),
                source=origins[origin],
            )
            for one, source, target, strength, confidence, since, kind, origin in [
                unpack(records, slot * size) for slot in slots
            ]
        ]

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
        record = _RECORD.pack(
            edge.id, edge.source, edge.target, edge.strength, edge.confidence, edge.since,
            self._types.number_of(edge.type), self._origins.number_of(edge.origin),
        )  # fmt: skip
        slot = self._slot_of(edge.id, source, target)
        if slot is None:
            slot = len(self)
            self._records += record
        else:
            source.outgoing = _without(source.outgoing, slot)
            target.incoming = _without(target.incoming, slot)
            self._records[slot * _RECORD.size : (slot + 1) * _RECORD.size] = record
        source.outgoing = self._with(source.outgoing, slot, edge.target, edge)
        target.incoming = self._with(target.incoming, slot, edge.source, edge)

    def _slot_of(self, relation_id: int, source: _Node, target: _Node) -> int | None:
        fewer = min(source.outgoing, target.incoming, key=len)
        slots = (slot for slot, _, _ in _EDGE.iter_unpack(fewer))
        return next((slot for slot in slots if self._record(slot)[0] == relation_id), None)

    def _with(self, edges: bytes, slot: int, far: int, edge: NewEdge) -> bytes:
        def key(place: int) -> tuple[float, int]:
            other, _, strength = _EDGE.unpack_from(edges, place * _EDGE.size)
            return -strength, self._record(other)[0]

        place = bisect_left(range(len(edges) // _EDGE.size), (-edge.strength, edge.id), key=key)
        cut = place * _EDGE.size
        return edges[:cut] + _EDGE.pack(slot, far, edge.strength) + edges[cut:]

    # While it is read.

    def read_entities(self, entities: Iterable[Entity]) -> None:
        """Take up entities of a scope; before its relations."""
        for entity in entities:
            self._nodes[entity.id] = _Node(entity)

    def read_relations(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take up relations of a scope: the columns of a `NewEdge`, the origin as four texts.

        In the order of their ids; `join` makes them known to their entities.
        """
        columns = list(zip(*rows, strict=True))
        ids, sources, targets, types, strengths, confidences, since, *origins = columns
        kinds = map(self._types.number_of, types)
        told = zip(*origins, strict=True)
        known = map(self._origins.number_of, starmap(_source_of, told))
        self._records += b"".join(
            map(_RECORD.pack, ids, sources, targets, strengths, confidences, since, kinds, known)
        )
        self._read[0].extend(sources)
        self._read[1].extend(targets)
        self._read[2].extend(strengths)

    def join(self) -> None:
        """Give every entity its relations, strongest first, of like ones the oldest."""
        nodes, joined = self._nodes, importlib.import_module(FRONTIER).joined
        sources, targets, strengths = (memoryview(column) for column in self._read)
        # An entity that is missing is newer than its page: its relations were noted meanwhile.
        known = memoryview(array("q", nodes))
        for entity, edges in joined(sources, targets, strengths, known):
            nodes[entity].outgoing = edges
        for entity, edges in joined(targets, sources, strengths, known):
            nodes[entity].incoming = edges
        self._read = (array("q"), array("q"), array("d"))


def _without(edges: bytes, slot: int) -> bytes:
    return b"".join(_EDGE.pack(*one) for one in _EDGE.iter_unpack(edges) if one[0] != slot)


def _source_of(agent: str, conversation: str, message: str, model: str) -> Source:
    return Source(agent=agent, conversation_id=conversation, message_id=message, model=model)


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
