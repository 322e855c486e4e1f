"""Checking what a model, or a file, gives to a tool against the tool's JSON Schema.

The result names every mistake in a sentence that a model can mend at its next try, and carries
the arguments with their defaults filled in. Only the part of JSON Schema that our own tools use
is understood: `type`, `properties`, `required`, `additionalProperties`, `enum`, `minimum`,
`maximum`, `minLength`, `maxLength`, `minItems`, `maxItems`, `items`, `default`, and the formats
`artifact`, `x-seconds` and `x-bytes`. What it does not know, it lets pass.

One keyword is our own: `"x-exactly-one-of": ["artifact", "text"]`. It says what a top-level
`oneOf` would say, which several model endpoints refuse in a tool's schema.

Tools from elsewhere bring schemas of any kind. A full validator takes this one's place by
having the type `CheckArguments`.

Reference: JSON Schema, draft 2020-12, Validation.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caxton_node.documents.nearest import nearest
from caxton_node.domain.errors import Place
from caxton_node.domain.quantities import parse_duration_s, parse_size_bytes

__all__ = ["CheckArguments", "CheckedArguments", "check_arguments"]

PLACES_MAX: Final = 20
"""More mistakes than this help nobody; the first ones are told."""

DEPTH_MAX: Final = 32
"""How deeply arguments may be nested."""

_HANDLE: Final = re.compile(r"artifact:[1-9][0-9]{0,9}", re.ASCII)
_JSON_TYPES: Final[Mapping[str, str]] = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class CheckedArguments:
    """Arguments that fit, or what is wrong with them."""

    values: Mapping[str, Any]
    """As given, with defaults filled in and `3.0` turned into `3` where a schema asks."""
    places: tuple[Place, ...] = ()
    """Empty when the arguments fit."""


CheckArguments = Callable[[Mapping[str, Any], Any], CheckedArguments]
"""Takes a schema and the arguments. Never raises."""


def check_arguments(schema: Mapping[str, Any], arguments: Any) -> CheckedArguments:
    """Check `arguments` against `schema`, whose type is `object`."""
    checker = _Checker()
    values = checker.check(schema, arguments, "", 0)
    if not isinstance(values, dict):
        values = {}
    return CheckedArguments(values, tuple(checker.places))


@dataclass(slots=True)
class _Checker:
    places: list[Place] = field(default_factory=list)

    def add(self, path: str, message: str, rule: str, fix: str | None = None) -> None:
        if len(self.places) < PLACES_MAX:
            self.places.append(Place(message, field=path or None, rule=rule, fix=fix))

    def check(self, schema: Mapping[str, Any], value: Any, path: str, depth: int) -> Any:
        """Return `value` with defaults filled in; add what is wrong to `places`."""
        name = f"`{path}`" if path else "The arguments"
        if depth > DEPTH_MAX:
            self.add(path, f"{name} is nested more than {DEPTH_MAX} deep.", "depth")
            return value
        types = schema.get("type", ())
        types = (types,) if isinstance(types, str) else tuple(types)
        if types and not any(_is_a(value, kind) for kind in types):
            wanted = " or ".join(_JSON_TYPES.get(kind, kind) for kind in types)
            verb = "must be" if path else "must together be"
            self.add(path, f"{name} {verb} {wanted}, not {_kind_of(value)}.", "type")
            return value
        if "enum" in schema and not any(_same(value, choice) for choice in schema["enum"]):
            self._wrong_choice(schema["enum"], value, path, name)
        if isinstance(value, str):
            self._check_text(schema, value, path, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) and "integer" in types and "number" not in types:
                value = int(value)
            self._check_number(schema, value, path, name)
        elif isinstance(value, Mapping):
            return self._check_object(schema, value, path, depth)
        elif isinstance(value, Sequence) and not isinstance(value, bytes):
            return self._check_list(schema, value, path, name, depth)
        return value

    def _wrong_choice(self, choices: Sequence[Any], value: Any, path: str, name: str) -> None:
        spelled = ", ".join(_shown(choice) for choice in choices)
        texts = [choice for choice in choices if isinstance(choice, str)]
        near = nearest(value, texts) if isinstance(value, str) else None
        fix = f"Did you mean {near!r}?" if near else None
        self.add(path, f"{name} must be one of {spelled}, not {_shown(value)}.", "enum", fix)

    def _check_text(self, schema: Mapping[str, Any], value: str, path: str, name: str) -> None:
        low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if len(value) < low:
            text = f"{name} must not be empty." if low == 1 else f"{name} is shorter than {low}."
            self.add(path, text, "minLength")
        if len(value) > high:
            text = f"{name} has {len(value)} characters; at most {high} are allowed."
            self.add(path, text, "maxLength")
        match schema.get("format"):
            case "artifact" if not _HANDLE.fullmatch(value):
                fix = "Give a handle that an earlier tool call returned."
                text = f"{name} must be a handle such as 'artifact:1', not {_shown(value)}."
                self.add(path, text, "format", fix)
            case "x-seconds" if parse_duration_s(value) is None:
                text = f"{name} must be a duration such as '30s', not {_shown(value)}."
                self.add(path, text, "format")
            case "x-bytes" if parse_size_bytes(value) is None:
                text = f"{name} must be a size such as '10MB', not {_shown(value)}."
                self.add(path, text, "format")
            case _:
                pass

    def _check_number(self, schema: Mapping[str, Any], value: float, path: str, name: str) -> None:
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if value < low:
            self.add(path, f"{name} must be at least {low}, not {_shown(value)}.", "minimum")
        if value > high:
            self.add(path, f"{name} must be at most {high}, not {_shown(value)}.", "maximum")

    def _check_list(
        self, schema: Mapping[str, Any], value: Sequence[Any], path: str, name: str, depth: int
    ) -> list[Any]:
        low, high = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        if len(value) < low:
            self.add(path, f"{name} needs at least {low} items, not {len(value)}.", "minItems")
        if len(value) > high:
            text = f"{name} has {len(value)} items; at most {high} are allowed."
            self.add(path, text, "maxItems")
            return list(value)
        items = schema.get("items")
        if not items:
            return list(value)
        return [
            self.check(items, item, f"{path}[{index}]", depth + 1)
            for index, item in enumerate(value)
        ]

    def _check_object(
        self, schema: Mapping[str, Any], value: Mapping[Any, Any], path: str, depth: int
    ) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        prefix = f"{path}." if path else ""
        checked: dict[str, Any] = {}
        for key, item in value.items():
            if key in properties:
                checked[key] = self.check(properties[key], item, f"{prefix}{key}", depth + 1)
            elif schema.get("additionalProperties", True) is False:
                near = nearest(str(key), properties)
                known = ", ".join(f"`{name}`" for name in properties) or "none"
                fix = f"Did you mean `{near}`?" if near else f"Known are: {known}."
                text = f"`{prefix}{_short(str(key))}` is not known here."
                self.add(f"{prefix}{_short(str(key))}", text, "unknown_key", fix)
            else:
                checked[str(key)] = item
        for key in schema.get("required", ()):
            if key not in value:
                self.add(f"{prefix}{key}", f"`{prefix}{key}` is missing.", "required")
        for key, rules in properties.items():
            if key not in value and isinstance(rules, Mapping) and "default" in rules:
                checked[key] = rules["default"]
        self._check_exclusive(schema.get("x-exactly-one-of", ()), value, path)
        return checked

    def _check_exclusive(self, names: Sequence[str], value: Mapping[Any, Any], path: str) -> None:
        given = [name for name in names if name in value]
        if names and len(given) != 1:
            spelled = ", ".join(f"`{name}`" for name in names)
            found = " and ".join(f"`{name}`" for name in given) if given else "none"
            self.add(path, f"Give exactly one of {spelled}; found {found}.", "exactly_one_of")


def _is_a(value: Any, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, list | tuple)
        case "string":
            return isinstance(value, str)
        case "integer":
            if isinstance(value, float):
                return value.is_integer()
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            if isinstance(value, float):
                return math.isfinite(value)
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return True


def _kind_of(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a number without a finite value"
    for kind, words in _JSON_TYPES.items():
        if _is_a(value, kind):
            return words
    return "something that JSON does not know"


def _same(value: Any, choice: Any) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _shown(value: Any) -> str:
    return repr(_short(value)) if isinstance(value, str) else _short(str(value))


def _short(text: str, length_max: int = 60) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"
