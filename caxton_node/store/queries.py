"""Named SQL: every statement of the store stands in `queries.sql` under `-- name: …`.

One file that a person can read from top to bottom, and that a database tool can check, is
better than strings scattered over modules. There is no templating: a statement is what the
file says, with bound parameters.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

__all__ = ["load_queries", "parse_queries"]

_NAME: Final = re.compile(r"-- name: (?P<name>[a-z][a-z0-9_]*)\s*")


def parse_queries(text: str) -> dict[str, str]:
    """Return the statements of a file by name, without comments between them.

    Raises:
        ValueError: A name occurs twice, a statement is empty, or text comes before any name.
    """
    queries: dict[str, str] = {}
    name: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        match = _NAME.fullmatch(line)
        if match is not None:
            name = match["name"]
            if name in queries:
                raise ValueError(f"line {number}: there are two statements named {name!r}")
            queries[name] = ""
        elif line.strip() and not line.startswith("--"):
            if name is None:
                raise ValueError(f"line {number}: a statement without a name")
            queries[name] += line + "\n"
    for name, sql in queries.items():
        if not sql:
            raise ValueError(f"the statement named {name!r} is empty")
    return {name: sql.rstrip() for name, sql in queries.items()}


def load_queries() -> Mapping[str, str]:
    """Return the store's own statements, by name."""
    return parse_queries(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))
