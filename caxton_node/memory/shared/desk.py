"""What telling and relating change, decided from what is known already. Pure.

A desk holds copies of the items that a write can touch. Facts are laid onto it one after the
other, so that those of one call see each other; at the end it says what differs from before.

The rules are those of the embedded memory: the same sentence about the same entity is one
observation that grows stronger; a newer text for an attribute ends the older ones; an entity that
changes leaves its former version behind.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from caxton_node.memory.bulk import UNNAMED_TYPE
from caxton_node.memory.records import Kind, Lived, NewFact, NewRelation, Scope
from caxton_node.memory.shared.identity import entity_id, fact_id, relation_id, talk_id
from caxton_node.memory.shared.shelf import FOREVER, AnyOf, Changes, Item, Patch, Sort, Sweep
from caxton_node.memory.shared.values import marks_of
from caxton_node.memory.wording import digest_of, fold
from caxton_node.memory.writing import Remembered

__all__ = ["VERSIONS_MAX", "Desk", "Mentioned", "mentioned"]

VERSIONS_MAX: Final = 100
"""Former versions of one entity that are kept; the oldest go first."""

_ABOUT_ENTITY: Final = ("type", "marks")


class Mentioned:
    """What a call names, to be fetched before it is decided."""

    def __init__(
        self, scope: Scope, facts: Sequence[NewFact], relations: Sequence[NewRelation]
    ) -> None:
        home = str(scope)
        names = [fact.entity for fact in facts]
        names += [end for one in relations for end in (one.source_entity, one.target_entity)]
        self.relations = _unique(_relation_number(home, one) for one in relations)
        self.entities = _unique(entity_id(home, fold(name)) for name in names)
        self.digests = _unique(digest_of(fact.text).hex() for fact in facts)
        self.attributes = _unique(fact.attribute for fact in facts if fact.attribute)
        self.talks = _unique(
            talk_id(home, fact.source.conversation_id) for fact in facts if _is_episode(fact)
        )


def mentioned(
    scope: Scope, *, facts: Sequence[NewFact] = (), relations: Sequence[NewRelation] = ()
) -> Mentioned:
    """Return what a call names."""
    return Mentioned(scope, facts, relations)


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _is_episode(fact: NewFact) -> bool:
    return fact.kind is Kind.EPISODE and bool(fact.source.conversation_id)


class Desk:
    """Where a call is worked out.

    Args:
        scope: Where everything is written.
        known: What was fetched.
        now: Milliseconds since 1970, UTC.
        next_seq: Numbers what is new in the order in which it comes.
        teller: The node that writes.
    """

    def __init__(
        self,
        scope: Scope,
        known: Sequence[Item],
        *,
        now: int,
        next_seq: Callable[[], int],
        teller: str,
    ) -> None:
        self._scope = str(scope)
        self._now = now
        self._next_seq = next_seq
        self._teller = teller
        self._before = {item.id: (item.sort, dict(item.fields)) for item in known}
        self._items = {item.id: Item(item.sort, item.id, dict(item.fields)) for item in known}
        self._of_entity: dict[int, list[Item]] = {}
        for item in self._items.values():
            if item.sort is Sort.FACT:
                self._of_entity.setdefault(item.fields["entity"], []).append(item)

    def remember(self, fact: NewFact) -> Remembered:
        """Lay a fact onto the desk."""
        entity = self._entity(fact.entity, fact.type, fact.metadata)
        digest = digest_of(fact.text).hex()
        start = self._now if fact.valid_from is None else fact.valid_from
        end = FOREVER if fact.valid_to is None else fact.valid_to
        same = [one for one in self._of_entity.get(entity.id, ()) if one.fields["digest"] == digest]
        for one in same:
            if end != FOREVER and _interval(one) == (start, end):
                return Remembered(one.id, entity.id, False, None)
        older: list[Item] = []
        if fact.attribute and end == FOREVER:
            older, end = self._conflict(entity.id, fact.attribute, digest, start)
        opened = next((one for one in same if one.fields["valid_to"] == FOREVER), None)
        if opened is not None and end == FOREVER:
            self._strengthen(opened, fact)
            told, is_new = opened, False
        else:
            told, is_new = self._put_fact(fact, entity, digest, start, end), True
        for one in older:
            one.fields.update(
                {"valid_to": max(start, one.fields["valid_from"]), "replaced_by": told.id}
            )
        if _is_episode(fact):
            self._note_talk(fact, told)
        return Remembered(told.id, entity.id, is_new, older[0].id if older else None)

    def _conflict(
        self, entity: int, attribute: str, digest: str, start: int
    ) -> tuple[list[Item], int]:
        """Return the observations that a new value ends, and the end of the new value itself.

        More than one only where two nodes told at once.
        """
        rivals = [
            one
            for one in self._of_entity.get(entity, ())
            if one.fields["attribute"] == attribute
            and one.fields["valid_to"] == FOREVER
            and one.fields["digest"] != digest
        ]
        later = [one.fields["valid_from"] for one in rivals if one.fields["valid_from"] > start]
        if later:
            return [], min(later)
        return sorted(rivals, key=lambda one: (-one.fields["valid_from"], one.id)), FOREVER

    def _strengthen(self, known: Item, fact: NewFact) -> None:
        if fact.lived is not None:
            return  # it was copied before; nobody said it again
        fields = known.fields
        expires_at = self._expiry(fact)
        before = fields["expires_at"]
        fields.update(
            {
                "use_count": fields["use_count"] + 1,
                "used_at": max(fields["used_at"], self._now),
                "strength": 1.0 - (1.0 - fields["strength"]) * 0.5,
                "confidence": max(fields["confidence"], fact.confidence),
                "is_pinned": int(fields["is_pinned"] or fact.is_pinned),
                "expires_at": expires_at if before == FOREVER else max(before, expires_at),
            }
        )

    def _expiry(self, fact: NewFact) -> int:
        if fact.lived is not None:
            return FOREVER if fact.lived.expires_at is None else fact.lived.expires_at
        return FOREVER if fact.ttl_s is None else self._now + int(fact.ttl_s * 1000)

    def _put_fact(self, fact: NewFact, entity: Item, digest: str, start: int, end: int) -> Item:
        probe = 0
        while (number := fact_id(entity.id, digest, probe)) in self._items:
            probe += 1
        lived = fact.lived or Lived(created_at=self._now, used_at=self._now)
        item = Item(
            Sort.FACT,
            number,
            {
                "scope": self._scope,
                "entity": entity.id,
                "subject": entity.fields["name"],
                "type": entity.fields["type"],
                "marks": marks_of(msgspec.json.decode(entity.fields["metadata"])),
                "kind": str(fact.kind),
                "attribute": fact.attribute,
                "text": fact.text,
                "context": fact.context,
                "digest": digest,
                "confidence": fact.confidence,
                "strength": fact.strength,
                "created_at": lived.created_at,
                "valid_from": start,
                "valid_to": end,
                "replaced_by": 0,
                "expires_at": self._expiry(fact),
                "is_pinned": int(fact.is_pinned),
                "use_count": lived.use_count,
                "used_at": lived.used_at,
                "seq": self._next_seq(),
                "vector_model": "",
                **_told_by(fact),
            },
        )
        self._items[number] = item
        self._of_entity.setdefault(entity.id, []).append(item)
        return item

    def _note_talk(self, fact: NewFact, episode: Item) -> None:
        conversation = fact.source.conversation_id
        number = talk_id(self._scope, conversation)
        talk = self._items.get(number)
        if talk is not None:
            talk.fields.update({"last_at": max(talk.fields["last_at"], self._now)})
            return
        self._items[number] = Item(
            Sort.TALK,
            number,
            {
                "scope": self._scope,
                "conversation": conversation,
                "after": episode.fields["seq"] - 1,
                "last_at": self._now,
                "teller": self._teller,
            },
        )

    def _entity(self, name: str, type_name: str, metadata: Mapping[str, Any]) -> Item:
        key = fold(name)
        number = entity_id(self._scope, key)
        known = self._items.get(number)
        if known is None:
            known = Item(
                Sort.ENTITY,
                number,
                {
                    "scope": self._scope,
                    "name": name,
                    "name_key": key,
                    "type": type_name,
                    "metadata": msgspec.json.encode(dict(metadata)).decode(),
                    "version": 1,
                    "created_at": self._now,
                    "updated_at": self._now,
                    "versions": "[]",
                },
            )
            self._items[number] = known
            return known
        self._change_entity(known, type_name, metadata)
        return known

    def _change_entity(self, known: Item, type_name: str, metadata: Mapping[str, Any]) -> None:
        fields = known.fields
        before = msgspec.json.decode(fields["metadata"])
        merged = before | dict(metadata)
        wanted_type = fields["type"] if type_name == UNNAMED_TYPE else type_name
        if (wanted_type, merged) != (fields["type"], before):
            versions = msgspec.json.decode(fields["versions"])
            since = max((one["valid_to"] for one in versions), default=fields["created_at"])
            versions.append(
                {
                    "version": fields["version"],
                    "type": fields["type"],
                    "metadata": before,
                    "valid_from": since,
                    "valid_to": self._now,
                }
            )
            fields.update(
                {
                    "type": wanted_type,
                    "metadata": msgspec.json.encode(merged).decode(),
                    "version": fields["version"] + 1,
                    "versions": msgspec.json.encode(versions[-VERSIONS_MAX:]).decode(),
                }
            )
        fields["updated_at"] = max(fields["updated_at"], self._now)

    def relate(self, one: NewRelation) -> int:
        """Lay a relation onto the desk; return its id."""
        source = self._entity(one.source_entity, UNNAMED_TYPE, {})
        target = self._entity(one.target_entity, UNNAMED_TYPE, {})
        start = self._now if one.valid_from is None else one.valid_from
        number = _relation_number(self._scope, one)
        known = self._items.get(number)
        if known is not None:
            known.fields.update(
                {
                    "strength": max(known.fields["strength"], one.strength),
                    "confidence": max(known.fields["confidence"], one.confidence),
                }
            )
            return number
        self._items[number] = Item(
            Sort.RELATION,
            number,
            {
                "scope": self._scope,
                "source": source.id,
                "target": target.id,
                "type": fold(one.type),
                "strength": one.strength,
                "confidence": one.confidence,
                "created_at": self._now,
                "valid_from": start,
                "valid_to": FOREVER if one.valid_to is None else one.valid_to,
                **_told_by(one),
            },
        )
        return number

    def changes(self) -> Changes:
        """Return what differs from what was fetched."""
        changes = Changes()
        for item in self._items.values():
            if item.id not in self._before:
                changes.puts.append(item)
                continue
            sort, before = self._before[item.id]
            changed = {name: value for name, value in item.fields.items() if before[name] != value}
            if changed:
                changes.patches.append(Patch(sort, item.id, changed))
            if sort is Sort.ENTITY and changed.keys() & {"type", "metadata"}:
                changes.sweeps.append(_spread(item))
        changes.puts.sort(key=lambda item: _PUT_ORDER.index(item.sort))
        return changes


_PUT_ORDER: Final = (Sort.ENTITY, Sort.FACT, Sort.RELATION, Sort.TALK, Sort.BACKUP)


def _relation_number(scope: str, one: NewRelation) -> int:
    source, target = (
        entity_id(scope, fold(name)) for name in (one.source_entity, one.target_entity)
    )
    interval = "open" if one.valid_to is None else f"{one.valid_from}-{one.valid_to}"
    return relation_id(source, target, fold(one.type), interval)


def _spread(entity: Item) -> Sweep:
    """Return the change that tells an entity's facts what it has become."""
    marks = marks_of(msgspec.json.decode(entity.fields["metadata"]))
    fields = dict(zip(_ABOUT_ENTITY, (entity.fields["type"], marks), strict=True))
    return Sweep(Sort.FACT, (AnyOf("entity", (entity.id,)),), fields)


def _interval(item: Item) -> tuple[int, int]:
    return item.fields["valid_from"], item.fields["valid_to"]


def _told_by(one: NewFact | NewRelation) -> dict[str, str]:
    source = one.source
    return {
        "agent": source.agent,
        "conversation": source.conversation_id,
        "message": source.message_id,
        "model": source.model,
    }
