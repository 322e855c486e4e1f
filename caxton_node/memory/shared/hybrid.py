"""Two engines as one shelf: facts in the one that finds, entities and relations in the other.

Qdrant compares vectors well and walks badly, Neo4j the other way round. What a write concerns in
both is written to the graph first: a fact never lacks its entity, and an entity whose facts were
not written is told of again by whoever got the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from caxton_node.memory.shared.shelf import Changes, Item, Order, Shelf, Side, Sort, Where

__all__ = ["HybridShelf"]

_IN_GRAPH = frozenset({Sort.ENTITY, Sort.RELATION})


@dataclass(frozen=True, slots=True)
class HybridShelf:
    """A `Shelf` of two.

    Args:
        facts: Finds by meaning and by words.
        graph: Walks.
    """

    facts: Shelf
    graph: Shelf

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.facts.name}+{self.graph.name}"

    @property
    def trouble(self) -> str | None:
        """Why the last call to either failed."""
        return self.facts.trouble or self.graph.trouble

    def _of(self, sort: Sort) -> Shelf:
        return self.graph if sort in _IN_GRAPH else self.facts

    async def open(self) -> None:
        """Make sure that what the shelves need is there."""
        await self.graph.open()
        await self.facts.open()

    async def close(self) -> None:
        """Release everything."""
        try:
            await self.facts.close()
        finally:
            await self.graph.close()

    async def use_model(self, identity: str, dimensions: int) -> None:
        """Compare vectors of a model from now on."""
        await self.facts.use_model(identity, dimensions)

    async def write(self, changes: Changes) -> None:
        """Apply changes: those of the graph, then those of facts."""
        for shelf in (self.graph, self.facts):
            part = Changes(
                puts=[one for one in changes.puts if self._of(one.sort) is shelf],
                patches=[one for one in changes.patches if self._of(one.sort) is shelf],
                sweeps=[one for one in changes.sweeps if self._of(one.sort) is shelf],
            )
            if not part.is_empty:
                await shelf.write(part)

    async def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Keep vectors of facts that exist."""
        await self.facts.put_vectors(vectors)

    async def vectors(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the vectors of facts."""
        return await self.facts.vectors(ids)

    async def delete(self, sort: Sort, where: Where) -> None:
        """Delete for good what meets conditions."""
        await self._of(sort).delete(sort, where)

    async def find(
        self, sort: Sort, where: Where, *, limit: int, after: int = 0, order: Order | None = None
    ) -> list[Item]:
        """Return items."""
        return await self._of(sort).find(sort, where, limit=limit, after=after, order=order)

    async def count(self, sort: Sort, where: Where) -> int:
        """Return how many items meet conditions."""
        return await self._of(sort).count(sort, where)

    async def count_by_scope(self, sort: Sort) -> dict[str, int]:
        """Return how many items each scope has."""
        return await self._of(sort).count_by_scope(sort)

    async def nearest(self, vector: bytes, where: Where, *, limit: int) -> list[tuple[int, float]]:
        """Return the nearest facts that meet conditions."""
        return await self.facts.nearest(vector, where, limit=limit)

    async def by_words(
        self, terms: Sequence[str], where: Where, *, limit: int
    ) -> list[tuple[int, float]]:
        """Return facts that have any of the words and meet conditions."""
        return await self.facts.by_words(terms, where, limit=limit)

    async def relations_of(
        self, entities: Sequence[int], side: Side, where: Where, *, fan_out: int
    ) -> list[Item]:
        """Return the strongest relations that have each entity on one side."""
        return await self.graph.relations_of(entities, side, where, fan_out=fan_out)
