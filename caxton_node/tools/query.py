"""Asking JSON a question in JMESPath, with bounds on what the question may cost.

A JMESPath expression of a few dozen characters can double its result at every step, and a
comparison walks both sides in full. So every step of the evaluation checks a deadline and the
size that its result would have if it were written out.

Blocking: call it in a thread when the data is large. Reference: jmespath.org/specification.html.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import jmespath.exceptions
import jmespath.parser
import jmespath.visitor
import orjson

__all__ = ["EXPRESSION_LENGTH_MAX", "QueryError", "check_extent", "load_json", "search"]

EXPRESSION_LENGTH_MAX: Final = 1_000
DEPTH_MAX: Final = 64
"""Of the data. Deeper data is hostile or a mistake, and recursion would meet its end in it."""

VALUE_COUNT_MAX: Final = 1_000_000
"""Of the data."""

GROWTH_MAX: Final = 1_000_000
"""How much larger than four times the data an intermediate result may be, in values and
characters, each counted as often as it occurs."""

DURATION_MAX_S: Final = 5.0


class QueryError(ValueError):
    """The data or the expression cannot be dealt with. The text is for a model."""


def load_json(data: bytes) -> Any:
    """Return the value of JSON text.

    Raises:
        QueryError: It is no JSON, nested too deeply, or holds too many values.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise QueryError(f"This is no JSON: {error}") from error
    check_extent(value)
    return value


def check_extent(value: Any) -> None:
    """Refuse what is nested too deeply or holds too many values, without recursion.

    Raises:
        QueryError: It is more than `DEPTH_MAX` deep, or more than `VALUE_COUNT_MAX` values.
    """
    level, count = [value], 1
    for _ in range(DEPTH_MAX + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        count += len(below)
        if count > VALUE_COUNT_MAX:
            raise QueryError(f"The data holds more than {VALUE_COUNT_MAX:,} values.")
        if not below:
            return
        level = below
    raise QueryError(f"The data is nested more than {DEPTH_MAX} deep.")


def search(expression: str, value: Any, *, clock: Callable[[], float] = time.monotonic) -> Any:
    """Return what `expression` finds in `value`.

    Raises:
        QueryError: The expression is wrong, or costs too much.
    """
    if len(expression) > EXPRESSION_LENGTH_MAX:
        raise QueryError(f"The expression is longer than {EXPRESSION_LENGTH_MAX} characters.")
    try:
        parsed = jmespath.parser.Parser().parse(expression)
        return _BoundedInterpreter(clock, value).visit(parsed.parsed, value)
    except jmespath.exceptions.JMESPathError as error:
        text = str(error).strip().split("\n", 1)[0]
        raise QueryError(f"The expression cannot be evaluated: {text}") from error
    except RecursionError as error:
        raise QueryError("The expression is nested too deeply.") from error
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError(f"The expression does not fit the data: {error}") from error


class _BoundedInterpreter(jmespath.visitor.TreeInterpreter):
    """Counts what every step yields, and stops when it is too much or takes too long."""

    def __init__(self, clock: Callable[[], float], data: Any) -> None:
        super().__init__()
        self._clock = clock
        self._deadline = clock() + DURATION_MAX_S
        # Containers are kept beside their size, so that no other can take their identity.
        self._sizes: dict[int, tuple[Any, int]] = {}
        self._size_max = GROWTH_MAX + 4 * self._size(data)

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        if self._clock() > self._deadline:
            raise QueryError(f"The expression takes longer than {DURATION_MAX_S:g} s.")
        result = super().visit(node, *args, **kwargs)
        if self._size(result) > self._size_max:
            raise QueryError("The expression yields too much data.")
        return result

    def _size(self, value: Any) -> int:
        if isinstance(value, str):
            return 1 + len(value)
        if not isinstance(value, dict | list):
            return 1
        known = self._sizes.get(id(value))
        if known is not None:
            return known[1]
        items = value.values() if isinstance(value, dict) else value
        size = 1 + sum(self._size(item) for item in items)
        self._sizes[id(value)] = (value, size)
        return size
