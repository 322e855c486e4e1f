"""JSON text into a `Document` without places: a program wrote it, and programs go by fields."""

import json
from typing import Any, Final, NoReturn

from caxton_node.documents.document import (
    NESTING_MAX,
    VALUES_MAX,
    Document,
    Flaw,
    Unreadable,
    shorten,
)

__all__ = ["read_json"]

_TOO_DEEP: Final = Flaw(f"More than {NESTING_MAX} levels of nesting", "nested_too_deep")


def read_json(text: str) -> Document:
    """Read a JSON object.

    Raises:
        Unreadable: The text is not JSON, not an object, repeats a key, or exceeds a limit.
    """
    try:
        values = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        flaw = Flaw(f"Not JSON: {error.msg}", "syntax")
        raise Unreadable(flaw, line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except ValueError:
        flaw = Flaw("A number has too many digits", "syntax", "Write it as text, in quotes")
        raise Unreadable(flaw) from None
    if not isinstance(values, dict):
        raise Unreadable(Flaw("The document must be a JSON object", "wrong_type"))
    _check_limits(values)
    return Document(values=values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unreadable(Flaw(f"The key `{shorten(key)}` is written twice", "key_repeated"))
            seen.add(key)
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(Flaw(f"Not JSON: {name} is no JSON number", "syntax"))


def _check_limits(values: dict[str, Any]) -> None:
    count = 0
    level: list[Any] = [values]
    for _ in range(NESTING_MAX + 1):
        below: list[Any] = []
        for value in level:
            below += value.values() if isinstance(value, dict) else value
        count += len(below)
        if count > VALUES_MAX:
            flaw = Flaw(
                f"More than {VALUES_MAX} keys and list items", "too_many_values", "Split the file"
            )
            raise Unreadable(flaw)
        level = [value for value in below if isinstance(value, dict | list)]
        if not level:
            return
    raise Unreadable(_TOO_DEEP)
