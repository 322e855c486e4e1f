r"""Placeholders in prompts: `{{message}}`, `{{conversation_history}}`, parameters.

A placeholder is a name between double braces and nothing else: no expressions, no conditions,
no code. What is put in is never looked at again, so that a message which contains
`{{system_prompt}}` stays that text. Single braces and a lone `}}` are text, because prompts
are full of JSON; `\{{` writes two literal braces.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from caxton_node.documents.document import shorten
from caxton_node.documents.nearest import nearest

__all__ = [
    "PLACEHOLDERS",
    "PLACEHOLDER_NAME",
    "TemplateFlaw",
    "placeholder_names",
    "render",
    "template_flaws",
]

PLACEHOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "message": "What was asked: the content of the message, as text.",
        "conversation_history": "The earlier messages of the conversation, oldest first.",
        "relevant_knowledge": "What the agent remembers about the request.",
        "name": "The agent's own name.",
    }
)
"""The placeholders that every agent has, besides its parameters."""

_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "request": "message",
        "input": "message",
        "query": "message",
        "content": "message",
        "history": "conversation_history",
        "context": "conversation_history",
        "memory": "relevant_knowledge",
        "memory_context": "relevant_knowledge",
        "knowledge": "relevant_knowledge",
        "agent_name": "name",
    }
)
"""What other systems call these placeholders."""

PLACEHOLDER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_PLACEHOLDER: Final = re.compile(
    rf"(?P<escaped>\\\{{\{{)|\{{\{{[ \t]*(?P<name>{PLACEHOLDER_NAME.pattern})[ \t]*\}}\}}"
)
_SUSPECT: Final = re.compile(
    # An escape and a good placeholder match first and are passed over.
    rf"{_PLACEHOLDER.pattern}"
    r"|(?P<open>\{\{(?P<inside>[^{}\n]{0,80})(?P<close>\}{0,2}))"
    rf"|(?P<half>(?<!\{{)\{{(?P<half_name>{PLACEHOLDER_NAME.pattern})\}}\}}(?!\}}))"
)


@dataclass(frozen=True, slots=True)
class TemplateFlaw:
    """A placeholder that cannot be filled."""

    text: str
    """The placeholder as it is written, for finding it."""
    message: str
    rule: str
    fix: str


def placeholder_names(template: str) -> Iterator[str]:
    """Yield the name of each placeholder in order, as often as it occurs."""
    for match in _PLACEHOLDER.finditer(template):
        if match["name"]:
            yield match["name"]


def template_flaws(template: str, known: Collection[str]) -> Iterator[TemplateFlaw]:
    """Yield each placeholder that is misspelled or names nothing in `known`, once."""
    seen: set[str] = set()
    for match in _SUSPECT.finditer(template):
        if match[0] in seen:
            continue
        seen.add(match[0])
        flaw = _flaw_of(match, known)
        if flaw:
            yield flaw


def _flaw_of(match: re.Match[str], known: Collection[str]) -> TemplateFlaw | None:
    text = match[0]
    name = match["name"]
    if name:
        return None if name in known else _unknown(text, name, known)
    if match["half"]:
        # In a sketch of JSON `{x}}` is right; only with a known name it looks like a slip.
        name = match["half_name"]
        message = f"has the unbalanced placeholder {shorten(text)}"
        fix = f"Write {{{{{name}}}}}"
        return TemplateFlaw(text, message, "unbalanced_placeholder", fix) if name in known else None
    if match["open"]:
        fix = "Write {{name}}; for two literal braces write \\{{"
        if match["close"] != "}}":
            return TemplateFlaw(text, "has {{ without }}", "unbalanced_placeholder", fix)
        message = (
            f"has the placeholder {shorten(text)}, but only a name may stand between the braces"
        )
        return TemplateFlaw(text, message, "malformed_placeholder", fix)
    return None


def _unknown(text: str, name: str, known: Collection[str]) -> TemplateFlaw:
    meant = _SYNONYMS.get(name.lower()) or nearest(name, known)
    fix = f"Did you mean {{{{{meant}}}}}?" if meant else f"Set {name} under [parameters]"
    return TemplateFlaw(text, f"has the unknown placeholder {text}", "unknown_placeholder", fix)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return `template` with every placeholder replaced, each exactly once.

    Texts go in as they are, other values as JSON. A placeholder without a value becomes empty:
    the file was checked for unknown names, so this is a thing that does not exist yet, such as
    the history of a new conversation.
    """

    def value_of(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "{{"
        value = values.get(match["name"], "")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    return _PLACEHOLDER.sub(value_of, template)
