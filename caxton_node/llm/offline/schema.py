"""Whether a value fits a JSON Schema, for a provider that must not send what does not fit.

Tools come from anywhere and so do their schemas. Keywords that bear on a value and are not
understood here make the answer *no*: a call that cannot be checked is not made.

Reference: JSON Schema, draft 2020-12, Validation.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["fits", "resolved", "types_of"]

DEPTH_MAX: Final = 16
"""Of schemas within schemas, and of references to references."""

PATTERN_LENGTH_MAX: Final = 200
PATTERN_VALUE_LENGTH_MAX: Final = 200
"""Patterns come from strangers; on short values even a slow one ends."""

UNIQUE_COUNT_MAX: Final = 200
"""Items compared with each other; comparing takes quadratic time."""

_NESTED_QUANTIFIER: Final = re.compile(r"\)[*+{?]|\\[1-9]")
"""In such a pattern the time may grow exponentially, so it is not run."""

_NOT_UNDERSTOOD: Final = frozenset(
    {
        "$dynamicRef",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref` within `root`; what leads nowhere becomes a schema that nothing fits."""
    for _ in range(DEPTH_MAX):
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            return {"not": {}}
        reference = schema.get("$ref")
        if reference is None:
            return schema
        schema = _pointed_at(reference, root)
    return {"not": {}}


def types_of(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the JSON types that a schema names, also through its alternatives."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return (kinds,)
    if isinstance(kinds, list | tuple):
        return tuple(kind for kind in kinds if isinstance(kind, str))
    found: list[str] = []
    for keyword in ("anyOf", "oneOf"):
        for choice in _schemas(schema.get(keyword)):
            kind = resolved(choice, root).get("type")
            found += [kind] if isinstance(kind, str) else []
    return tuple(dict.fromkeys(found))


def fits(value: Any, schema: Any, root: Mapping[str, Any], depth: int = 0) -> bool:
    """Tell whether `value` certainly fits `schema`, a part of `root`. Never raises."""
    if depth > DEPTH_MAX:
        return False
    if isinstance(schema, Mapping) and "$ref" in schema:
        beside = {key: rule for key, rule in schema.items() if key != "$ref"}
        return fits(value, resolved(schema, root), root, depth + 1) and fits(
            value, beside, root, depth + 1
        )
    schema = resolved(schema, root)
    if not _NOT_UNDERSTOOD.isdisjoint(schema):
        return False
    if not _is_allowed(value, schema) or not _fits_combinations(value, schema, root, depth):
        return False
    if isinstance(value, str):
        return _fits_text(value, schema)
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return _fits_number(value, schema)
    if isinstance(value, Mapping):
        return _fits_object(value, schema, root, depth)
    if isinstance(value, list | tuple):
        return _fits_list(value, schema, root, depth)
    return False


def _is_allowed(value: Any, schema: Mapping[str, Any]) -> bool:
    """Check `type`, `enum` and `const`."""
    kinds = schema.get("type")
    if kinds is not None:
        named = kinds if isinstance(kinds, list | tuple) else (kinds,)
        if not any(_is_a(value, kind) for kind in named):
            return False
    if "enum" in schema and not any(_same(value, choice) for choice in _schemas(schema["enum"])):
        return False
    return "const" not in schema or _same(value, schema["const"])


def _fits_combinations(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> bool:
    counts = {
        keyword: sum(fits(value, choice, root, depth + 1) for choice in _schemas(schema[keyword]))
        for keyword in ("allOf", "anyOf", "oneOf")
        if keyword in schema
    }
    if "allOf" in counts and counts["allOf"] != len(_schemas(schema["allOf"])):
        return False
    return counts.get("anyOf", 1) >= 1 and counts.get("oneOf", 1) == 1


def _fits_text(value: str, schema: Mapping[str, Any]) -> bool:
    if not _within(len(value), schema, "minLength", "maxLength"):
        return False
    pattern = schema.get("pattern")
    if pattern is None:
        return True
    if (
        not isinstance(pattern, str)
        or len(pattern) > PATTERN_LENGTH_MAX
        or len(value) > PATTERN_VALUE_LENGTH_MAX
        or _NESTED_QUANTIFIER.search(pattern)
    ):
        return False
    try:
        return re.search(pattern, value) is not None
    except (re.error, OverflowError, RecursionError):
        return False


def _fits_number(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if not _within(value, schema, "minimum", "maximum"):
        return False
    for keyword, sign in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
        bound = schema.get(keyword)
        if bound is not None and not (_is_number(bound) and sign * (value - bound) > 0):
            return False
    if "multipleOf" not in schema:
        return True
    # Exact for whole numbers only; the rest cannot be told for certain.
    step = schema["multipleOf"]
    is_exact = float(value).is_integer() and isinstance(step, int) and step > 0
    return is_exact and int(value) % step == 0


def _fits_object(
    value: Mapping[Any, Any], schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> bool:
    required = schema.get("required", ())
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if not isinstance(required, list | tuple) or not isinstance(properties, Mapping):
        return False
    if any(key not in value for key in required):
        return False
    if not _within(len(value), schema, "minProperties", "maxProperties"):
        return False
    exclusive = schema.get("x-exactly-one-of")
    if exclusive is not None and (
        not isinstance(exclusive, list | tuple) or sum(key in value for key in exclusive) != 1
    ):
        return False
    return all(
        fits(item, properties.get(key, others), root, depth + 1) for key, item in value.items()
    )


def _fits_list(
    value: Sequence[Any], schema: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> bool:
    if not _within(len(value), schema, "minItems", "maxItems"):
        return False
    if schema.get("uniqueItems") and len(value) > UNIQUE_COUNT_MAX:
        return False
    if schema.get("uniqueItems") and any(
        _same(item, earlier) for index, item in enumerate(value) for earlier in value[:index]
    ):
        return False
    return "items" not in schema or all(
        fits(item, schema["items"], root, depth + 1) for item in value
    )


def _within(size: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return (low is None or (_is_number(low) and size >= low)) and (
        high is None or (_is_number(high) and size <= high)
    )


def _is_a(value: Any, kind: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "number":
            return _is_number(value)
        case "integer":
            return _is_number(value) and (isinstance(value, int) or value.is_integer())
        case "object":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, list | tuple)
        case _:
            return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Any, choice: Any) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _schemas(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _pointed_at(reference: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found
