"""Filling a tool's arguments from a request and from what the turn has gathered.

Every argument carries how sure it is, from 1.0 (written out, or the only thing of its kind) down.
Required parameters are filled as well as can be; optional ones only where the request speaks of
them. A value that does not certainly fit its schema is not used, and arguments as a whole are
checked once more: what is returned as complete is valid.

Reference: JSON Schema, draft 2020-12.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caxton_node.llm.offline import phrases
from caxton_node.llm.offline.choices import best_choice
from caxton_node.llm.offline.entities import Entity
from caxton_node.llm.offline.gathered import Gathered
from caxton_node.llm.offline.media_types import accepted_media_types, matches_media_type
from caxton_node.llm.offline.numbers import number_for
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.roles import in_role, suits_path
from caxton_node.llm.offline.schema import fits, resolved, types_of
from caxton_node.llm.offline.stemming import stem_set
from caxton_node.llm.offline.tables import column_for
from caxton_node.llm.offline.texts import texts_for
from caxton_node.llm.offline.wanted import Wanted, wanted
from caxton_node.llm.offline.words import stems

__all__ = ["Filled", "fill"]

PARAMETER_COUNT_MAX: Final = 64
"""Parameters of one tool that are looked at."""

SURE_MIN: Final = 0.5
"""Below this an argument is a guess, and guesses are not sent."""

_PAIR: Final = re.compile(
    r"(?<![\w./-])([A-Za-z_][\w-]{0,40})\s{0,2}[:=]\s{0,2}"
    r"(\"[^\"\n]{0,1000}\"|'[^'\n]{0,1000}'|[^\s,;]{1,1000})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Arguments for one tool, as far as they go."""

    arguments: Mapping[str, Any]
    sureness: Mapping[str, float]
    """By name of the argument, 0 to 1."""
    missing: tuple[str, ...] = ()
    """Required, and nothing answers them."""
    missing_data: tuple[frozenset[str], ...] = ()
    """Media types, of which one is wanted, for each missing parameter that takes an artifact."""
    required_count: int = 0
    used: frozenset[Entity] = frozenset()
    is_valid: bool = False
    """They fit the schema as a whole."""

    @property
    def is_complete(self) -> bool:
        """They may be sent."""
        return self.is_valid and not self.missing


@dataclass(slots=True)
class _State:
    arguments: dict[str, Any] = field(default_factory=dict)
    sureness: dict[str, float] = field(default_factory=dict)
    used: list[Entity] = field(default_factory=list)

    def give(self, name: str, value: Any, sure: float, *entities: Entity) -> None:
        self.arguments[name] = value
        self.sureness[name] = sure
        self.used.extend(entities)


def fill(
    schema: Mapping[str, Any],
    reading: Reading,
    gathered: Gathered,
    *,
    tool_words: frozenset[str] = frozenset(),
) -> Filled:
    """Fill what `schema`, the parameters of a tool, asks for. Never raises.

    Args:
        schema: Its type is `object`.
        reading: The request.
        gathered: What the turn has so far.
        tool_words: Stems and concepts of the tool's name: the verb after which free text begins.
    """
    return _Filler(schema, reading, gathered, tool_words).filled()


class _Filler:
    def __init__(
        self,
        schema: Mapping[str, Any],
        reading: Reading,
        gathered: Gathered,
        tool_words: frozenset[str],
    ) -> None:
        self.root = schema
        self.reading = reading
        self.gathered = gathered
        self.tool_words = tool_words
        self.state = _State()
        properties = schema.get("properties")
        names = list(properties)[:PARAMETER_COUNT_MAX] if isinstance(properties, Mapping) else []
        self.properties = {
            name: resolved(properties[name], schema)
            for name in names
            if isinstance(properties, Mapping) and isinstance(name, str)
        }
        required = schema.get("required")
        named = required if isinstance(required, list | tuple) else ()
        self.required = [name for name in named if isinstance(name, str)]
        exclusive = schema.get("x-exactly-one-of")
        self.exclusive = [
            name
            for name in (exclusive if isinstance(exclusive, list | tuple) else ())
            if isinstance(name, str) and name in self.properties
        ]
        self.pairs = {
            _plain(match[1]): match[2].strip("\"'") for match in _PAIR.finditer(reading.text)
        }

    def filled(self) -> Filled:
        whole = self._whole_object()
        if whole is not None:
            return whole
        # Parameters that want a certain kind come first: free text is what remains.
        wishes = {name: wanted(name, rules) for name, rules in self.properties.items()}
        order = [*self.required, *(name for name in self.exclusive if name not in self.required)]
        order.sort(key=lambda name: _rank(wishes.get(name), self.properties.get(name, {})))
        for name in order:
            if name in wishes and not self._is_excluded(name):
                self._fill_required(name, self.properties[name], wishes[name])
        for name, rules in self.properties.items():
            if name not in self.state.arguments and name not in order:
                self._fill_optional(name, rules, wishes[name])
        return self._result()

    def _result(self) -> Filled:
        given = self.state.arguments
        missing = [name for name in self.required if name not in given]
        if self.exclusive and not any(name in given for name in self.exclusive):
            missing.append(self.exclusive[0])
        lacking = [*missing, *(self.exclusive if self.exclusive[:1] == missing[-1:] else ())]
        data = [
            accepted_media_types(self.properties[name])
            for name in dict.fromkeys(lacking)
            if self.properties.get(name, {}).get("format") == "artifact"
        ]
        unsure = [name for name in self.required if self.state.sureness.get(name, 1.0) < SURE_MIN]
        return Filled(
            arguments=given,
            sureness=self.state.sureness,
            missing=tuple(dict.fromkeys(missing + unsure)),
            missing_data=tuple(data),
            required_count=len(self.required) + bool(self.exclusive),
            used=frozenset(_hashable(self.state.used)),
            is_valid=not missing and fits(given, self.root, self.root),
        )

    def _whole_object(self) -> Filled | None:
        """Inline JSON may simply be the arguments."""
        for entity in self.reading.entities:
            value = entity.value
            if (
                entity.kind == "json"
                and isinstance(value, dict)
                and set(value) <= set(self.properties)
                and set(self.required) <= set(value)
                and fits(value, self.root, self.root)
            ):
                self.state.used.append(entity)
                self.state.arguments.update(value)
                self.state.sureness.update(dict.fromkeys(value, 1.0))
                return self._result()
        return None

    def _is_excluded(self, name: str) -> bool:
        return name in self.exclusive and any(
            other in self.state.arguments for other in self.exclusive
        )

    # One parameter

    def _fill_required(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> None:
        is_required = name in self.required
        if self._fill_written_out(name, rules, wish) or self._fill_held(name, rules):
            return
        kinds = types_of(rules, self.root)
        if "array" in kinds and self._fill_list(name, rules, wish):
            return
        if (not kinds or {"object", "array"}.intersection(kinds)) and self._fill_json(name, rules):
            return
        if {"number", "integer"}.intersection(kinds) and self._fill_number(
            name, rules, wish, is_required=is_required
        ):
            return
        if "boolean" in kinds and self._fill_boolean(name, rules, wish):
            return
        if (not kinds or "string" in kinds) and rules.get("format") != "artifact":
            if self._fill_kind(name, rules, wish) or self._fill_column(name, rules, wish):
                return
            if self._fill_text(name, rules, wish):
                return
        if is_required and "default" in rules:
            self._try(name, rules, rules["default"], 0.6)
        elif is_required and "const" in rules:
            self._try(name, rules, rules["const"], 0.6)

    def _fill_optional(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> None:
        if self._fill_written_out(name, rules, wish):
            return
        kinds = types_of(rules, self.root)
        if self._fill_column(name, rules, wish) or self._fill_held(name, rules):
            return
        if {"number", "integer"}.intersection(kinds) and self._fill_number(
            name, rules, wish, is_required=False
        ):
            return
        if "boolean" in kinds and self._fill_boolean(name, rules, wish):
            return
        if "string" in kinds and wish.kinds and wish.kinds[0] not in {"path", "identifier"}:
            self._fill_kind(name, rules, wish)

    def _try(
        self, name: str, rules: Mapping[str, Any], value: Any, sure: float, *entities: Entity
    ) -> bool:
        if not fits(value, rules, self.root):
            return False
        self.state.give(name, value, sure, *entities)
        return True

    def _free(self, *kinds: str) -> list[Entity]:
        """Entities of these kinds that no argument has yet, in order of the text."""
        used = {id(entity) for entity in self.state.used}
        return [
            entity
            for entity in self.reading.entities
            if entity.kind in kinds and id(entity) not in used
        ]

    def _fill_written_out(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        """`name: value`, or one of the choices."""
        text = self.pairs.get(_plain(name))
        if text is not None and not wish.is_free:
            for value in _readings(text):
                if self._try(name, rules, value, 1.0, *self._entities_in(text)):
                    return True
        choices = rules.get("enum") or wish.choices
        return isinstance(choices, list | tuple) and self._fill_choice(name, rules, choices)

    def _entities_in(self, text: str) -> list[Entity]:
        return [entity for entity in self._free_all() if entity.text and entity.text in text]

    def _free_all(self) -> list[Entity]:
        return self._free(*dict.fromkeys(entity.kind for entity in self.reading.entities))

    def _fill_choice(self, name: str, rules: Mapping[str, Any], choices: Sequence[Any]) -> bool:
        is_required = name in self.required
        sure, choice = best_choice(choices, self.reading, is_required=is_required)
        if sure >= SURE_MIN and self._try(name, rules, choice, sure):
            return True
        if not is_required or "default" in rules:
            return False
        return len(choices) == 1 and self._try(name, rules, choices[0], 0.8)

    def _fill_held(self, name: str, rules: Mapping[str, Any]) -> bool:
        """Data that the conversation keeps, the latest first."""
        if rules.get("format") != "artifact":
            return False
        for entity in self._free("artifact"):
            if self._try(name, rules, entity.value, 1.0, entity):
                return True
        allowed = accepted_media_types(rules)
        for held in reversed(self.gathered.held):
            if matches_media_type(held.media_type, allowed) and self._try(
                name, rules, held.handle, 1.0
            ):
                return True
        return False

    def _fill_number(
        self, name: str, rules: Mapping[str, Any], wish: Wanted, *, is_required: bool
    ) -> bool:
        free = self._free("number")
        found = number_for(wish.words, self.reading, free, is_required=is_required)
        if found is None:
            return False
        value = found.value
        if "number" not in types_of(rules, self.root) and isinstance(value, float):
            value = int(value) if value.is_integer() else value
        return self._try(name, rules, value, 0.9 if is_required else 0.8, found)

    def _fill_boolean(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        core = [part for part in wish.words if part not in _BOOLEAN_FRAME]
        if not core or not set(core) <= set(stems(self.reading.text)):
            return False
        is_negated = not set(core) <= set(stems(self.reading.prose)) or re.search(
            r"\b(?:no|without|not)\b", self.reading.text, re.IGNORECASE
        )
        return self._try(name, rules, not is_negated, 0.8)

    def _fill_list(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        items = resolved(rules.get("items", True), self.root)
        kinds = types_of(items, self.root)
        if {"number", "integer"}.intersection(kinds):
            found = self._free("number")
            values = [entity.value for entity in found]
            return len(found) > 1 and self._try(name, rules, values, 0.9, *found)
        if "string" not in kinds:
            return False
        if self.gathered.table is not None and (
            column := column_for(wish.words, self.reading, self.gathered.table)
        ):
            return self._try(name, rules, [column], 0.8)
        groups: list[tuple[str, ...]] = [wish.kinds, ("quoted",)]
        if wish.is_name:
            groups.append(("identifier", "name"))
        for group in groups:
            found = self._free(*group)
            if group == ("path",):
                found = [entity for entity in found if suits_path(entity, wish)] or found
            values = [str(entity.value) for entity in found]
            if found and self._try(name, rules, values, 0.8, *found):
                return True
        return False

    def _fill_json(self, name: str, rules: Mapping[str, Any]) -> bool:
        for entity in self._free("json"):
            value = entity.value
            inner = value.get(name) if isinstance(value, dict) else None
            for candidate in (value, inner, [value]):
                if candidate is not None and self._try(name, rules, candidate, 1.0, entity):
                    return True
        return False

    def _fill_kind(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        for kind in wish.kinds:
            if kind in {"identifier", "revision"}:
                # *Branch main*: the noun tells what a plain word could not.
                nouns = frozenset(wish.words) | (_REVISION_NOUNS if kind == "revision" else set())
                following = phrases.after_word(self.reading, nouns)
                called = following or phrases.named(self.reading)
                if called and self._try(name, rules, called, 0.9, *self._named(called)):
                    return True
            found = self._free(kind)
            if kind == "glob" and not found:
                # A bare name of a file is a pattern too: it matches itself.
                found = [one for one in self._free("path") if "/" not in str(one.value)]
            if kind == "path":
                found = [entity for entity in found if suits_path(entity, wish)] or found
            if not found:
                continue
            entity = in_role(found, wish, self.reading)
            sure = 1.0 if entity.is_typed else 0.7
            if self._try(name, rules, str(entity.value), sure, entity):
                return True
        if wish.kinds[:1] == ("path",):
            for entity in self._free("quoted", "identifier"):
                if "/" in str(entity.value) and self._try(
                    name, rules, str(entity.value), 0.7, entity
                ):
                    return True
        return False

    def _named(self, text: str) -> list[Entity]:
        return [entity for entity in self._free_all() if str(entity.value) == text]

    def _fill_column(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        table = self.gathered.table
        if table is None or rules.get("format") == "artifact":
            return False
        column = column_for(wish.words, self.reading, table, is_required=name in self.required)
        if column is None:
            return False
        if "array" in types_of(rules, self.root):
            return self._try(name, rules, [column], 0.8)
        return self._try(name, rules, column, 0.8)

    def _fill_text(self, name: str, rules: Mapping[str, Any], wish: Wanted) -> bool:
        found = texts_for(rules, wish, self.reading, self._free, self.tool_words)
        return any(
            text.value and self._try(name, rules, text.value, text.sure, *text.entities)
            for text in found
        )


_BOOLEAN_FRAME: Final = stem_set(
    "is has include enable with show use need should do allow only as flag"
)


_REVISION_NOUNS: Final = stem_set("branch tag commit revision")


def _rank(wish: Wanted | None, rules: Mapping[str, Any]) -> int:
    if wish is None or rules.get("format") == "artifact" or "enum" in rules:
        return 0
    if wish.is_free:
        return 4
    if wish.kinds and wish.kinds[0] != "path":
        return 1
    return 2 if wish.kinds else 3


def _readings(text: str) -> list[Any]:
    """Return what a written-out value may be: itself, a number, a truth value."""
    values: list[Any] = [text.rstrip(".?!"), text]
    if re.fullmatch(r"-?\d{1,15}", text.rstrip(".?!")):
        values.insert(0, int(text.rstrip(".?!")))
    elif re.fullmatch(r"-?\d{1,15}\.\d{1,15}", text):
        values.insert(0, float(text))
    if text.lower() in {"true", "yes", "false", "no"}:
        values.insert(0, text.lower() in {"true", "yes"})
    return values


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _hashable(entities: list[Entity]) -> list[Entity]:
    """Leave out parsed JSON, which has no hash, by keeping its text as value."""
    return [
        entity
        if entity.kind != "json"
        else Entity(
            kind="json",
            value=entity.text,
            text=entity.text,
            start=entity.start,
            end=entity.end,
        )
        for entity in entities
    ]
