"""The reference page of agent files, written from the table that reads them."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from caxton_node.agentfile.aliases import ALIASES, VALUE_ALIASES
from caxton_node.agentfile.build import default_of
from caxton_node.agentfile.inert import NOT_ACTED_UPON
from caxton_node.agentfile.schema import FIELDS, FREE_TABLES, TABLES, Field
from caxton_node.agentfile.template import PLACEHOLDERS
from caxton_node.documents.decode import SOURCE_BYTES_MAX
from caxton_node.documents.document import NESTING_MAX, VALUES_MAX
from caxton_node.documents.readers import Duration
from caxton_node.documents.yaml_source import YAML_CHARS_MAX
from caxton_node.domain.quantities import format_duration, format_size

__all__ = ["agent_file_page"]

_OPENING: Final = """# Agent files

<!-- Written by docs/generate.py from caxton_node/agentfile/schema.py. Do not edit. -->

An agent is one file: TOML (`.toml`), Markdown with YAML front matter (`.md`), whose body is the
agent's documentation, or JSON (`.json`), as the REST API takes it. The keys are the same.

```toml
name = "reporter"
capabilities = ["report-writing"]
system_prompt = "You write short reports."
```

`caxton agent validate FILE` checks a file without deploying it. Every mistake is told at once,
with its line, its column, and a way to mend it. An unknown key is a mistake.
"""

_EXPANSION: Final = """
## Variables

In the texts of `[llm]` and `[tool_config.…]`, `${VAR}` is replaced by the environment variable of
the node, and `${VAR:-default}` has a default. A variable that is not set and has no default is a
mistake. What was put in is not looked at again; `$${` writes a literal `${`. `llm.api_key` must be
such a reference, because a file is no place for a secret. Values from the environment are never
repeated in errors.
"""

_DURATIONS: Final = """
Durations are written `"500ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"7d"`, or as a number of seconds.
Sizes are written `"10MB"` (millions) or `"256MiB"` (1024 × 1024), or as a number of bytes.
"""


def agent_file_page() -> str:
    """Return `docs/reference/agent-file.md`."""
    lines = [_OPENING, *_keys("", "## Keys at the top")]
    for table in TABLES:
        lines += ["", *_keys(table, f"## `[{table}]`")]
    lines += [_DURATIONS, "## Placeholders in prompts", ""]
    lines += [
        "A name between double braces in `system_prompt` and `user_prompt_template` is replaced,",
        "once; there are no conditions and no code. Besides these, every key of `[parameters]` is",
        "one. Single braces are text; `\\{{` writes two literal braces.",
        "",
        "| placeholder | meaning |",
        "|---|---|",
        *(f"| `{{{{{name}}}}}` | {doc} |" for name, doc in PLACEHOLDERS.items()),
        _EXPANSION,
        *_tolerated(),
        "",
        *_inert(),
        "",
        "## Limits",
        "",
        f"A file has at most {format_size(SOURCE_BYTES_MAX)} of UTF-8, {NESTING_MAX} levels of",
        f"nesting, and {VALUES_MAX} keys and list items. Front matter has at most",
        f"{YAML_CHARS_MAX} characters.",
        "",
    ]
    return "\n".join(lines)


def _keys(table: str, title: str) -> Iterator[str]:
    yield title
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in FIELDS.items():
        section, _, name = key.rpartition(".")
        if section == table:
            shown = f"`[{name}]`" if name in FREE_TABLES else f"`{name}`"
            yield f"| {shown} | {_cell(field.reader.wanted)} | {_default(field)} | {field.doc} |"


def _default(field: Field) -> str:
    if field.is_required:
        return "**required**"
    text = _spelled(field, default_of(field))
    return f"`{text}`" if text else ""


def _spelled(field: Field, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float() if isinstance(field.reader, Duration):
            return f'"{format_duration(value)}"'
        case int() | float():
            return f"{value}"
        case str() | StrEnum():
            return f'"{value}"' if value else ""
        case _:
            return ""


def _tolerated() -> Iterator[str]:
    yield "## Other spellings"
    yield ""
    yield "Accepted, most of them with a warning that names the proper one:"
    yield ""
    for spelling, alias in ALIASES.items():
        yield f"- `{spelling}` for `{alias.key}`"
    for (key, value), proper in VALUE_ALIASES.items():
        yield f'- `{key} = "{value}"` for `"{proper}"`'
    yield "- a prompt key such as `system_prompt` below a `[table]` header, where TOML puts it"
    yield "  into the table: it is taken as the agent's own, unless the agent has one already"


def _inert() -> Iterator[str]:
    yield "## Keys without an effect"
    yield ""
    yield "Read, checked and kept; a warning says that they do nothing in this version:"
    yield ""
    yield "| key | what the warning says |"
    yield "|---|---|"
    for key, message in NOT_ACTED_UPON.items():
        yield f"| `{key}` | {message} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
