"""Ids that several nodes give to the same thing without asking each other. Pure.

An id is a number made of what it names: two nodes that tell of the same entity at once write the
same item, and a write that is repeated after a lost answer changes nothing. They fit into 53 bits,
because clients in JavaScript read no larger ones; that any two of a million items share one has a
probability of one in eighteen thousand, and then the later one takes the place of the earlier.
"""

import hashlib
from typing import Final

__all__ = ["entity_id", "fact_id", "named_id", "relation_id", "talk_id"]

_BITS: Final = 53


def _number(*parts: object) -> int:
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - _BITS)) or 1


def entity_id(scope: str, name_key: str) -> int:
    """Return the id of an entity of a scope."""
    return _number("entity", scope, name_key)


def fact_id(entity: int, digest: str, probe: int) -> int:
    """Return the id of what is said of an entity for the `probe`-th time."""
    return _number("fact", entity, digest, probe)


def relation_id(source: int, target: int, type_name: str, interval: str) -> int:
    """Return the id of a relation."""
    return _number("relation", source, target, type_name, interval)


def talk_id(scope: str, conversation: str) -> int:
    """Return the id of a conversation of a scope."""
    return _number("talk", scope, conversation)


def named_id(sort: str, name: str) -> int:
    """Return the id of something that has a name of its own."""
    return _number(sort, name)
