"""The reference page of tools, made from what models are told of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from caxton_node.domain.tool import ToolSpec

__all__ = ["tools_page"]

_HEAD = """# Tools

What an agent may call when its file lists it under `tools`. Written by `docs/generate.py` from the
tools themselves.

Large data never passes through a model: a tool keeps it as an *artifact* of the conversation and
returns a handle (`artifact:3`), which other tools take. *Reads only*: it changes nothing outside
the conversation. *Never guessed*: it may overwrite or delete, so an agent without a model does not
call it. Settings stand in the agent's file under `[tool_config.<tool>]`. Files and tickets stay on
the node that wrote them: a replica of the agent on another node has its own.
"""


def tools_page(specs: Iterable[ToolSpec]) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(_section(spec) for spec in specs)])


def _section(spec: ToolSpec) -> str:
    lines = [f"## {spec.name}", "", spec.description, ""]
    traits = [
        words
        for words, holds in (
            ("reads only", spec.is_read_only),
            ("never guessed", spec.is_destructive),
            (f"yields {', '.join(spec.produces)}", spec.produces),
        )
        if holds
    ]
    if traits:
        lines += [f"*{'; '.join(traits).capitalize()}.*", ""]
    lines += ["| argument | type | what it is |", "|---|---|---|", *_rows(spec.parameters)]
    one_of = spec.parameters.get("x-exactly-one-of")
    if one_of:
        lines += ["", f"Exactly one of {', '.join(f'`{name}`' for name in one_of)} is given."]
    if spec.config_schema:
        lines += ["", "| setting | type | |", "|---|---|---|", *_rows(spec.config_schema)]
    return "\n".join([*lines, ""])


def _rows(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for name, rules in schema["properties"].items():
        notes = [rules.get("description", "")]
        if name in required:
            notes.append("Required.")
        if "default" in rules:
            default = msgspec.json.encode(rules["default"]).decode()
            notes.append(f"`{default}` when absent.")
        text = " ".join(filter(None, notes)).replace("|", "\\|")
        yield f"| `{name}` | {_type(rules)} | {text} |"


def _type(rules: Mapping[str, Any]) -> str:
    if "enum" in rules:
        choices = ", ".join(msgspec.json.encode(choice).decode() for choice in rules["enum"])
        return f"`{choices}`".replace("|", "\\|")
    match rules.get("format"):
        case "artifact":
            return "handle of " + ", ".join(rules["x-media-types"])
        case "x-bytes":
            return 'a size, such as "10MB"'
        case "x-seconds":
            return 'a duration, such as "30s"'
        case _:
            return _bounded(rules)


def _bounded(rules: Mapping[str, Any]) -> str:
    kinds = rules.get("type", "any JSON value")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None and high is not None:
        text += f", {low} to {high}"
    elif "maxLength" in rules:
        text += f", up to {rules['maxLength']:,} characters"
    elif "maxItems" in rules:
        text += f", up to {rules['maxItems']:,} items"
    return text
