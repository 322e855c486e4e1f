"""`text_processor`: one plain operation on a text. No patterns of the caller's: only substrings."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools import text as texts
from caxton_node.tools.builtin.table_input import artifact_parameter, run_apart
from caxton_node.tools.csv_text import decode_text
from caxton_node.tools.media import INLINE_BYTES_MAX, is_text
from caxton_node.tools.outcome import Mistake, kept, reports_mistakes, shortened
from caxton_node.tools.tool import ToolContext

__all__ = ["TextProcessor"]

TEXT_LENGTH_MAX: Final = 10_000_000
LIST_LENGTH_MAX: Final = 50
FREQUENT_MAX: Final = 20
EXCERPT_LENGTH: Final = 60
"""Characters shown around what was found."""

_CHANGES: Final[Mapping[str, Callable[[str], str]]] = {
    "uppercase": str.upper,
    "lowercase": str.lower,
    "title": str.title,
    "reverse": lambda text: text[::-1],
    "trim": lambda text: "\n".join(line.strip() for line in text.strip().splitlines()),
}
_COUNTS: Final[Mapping[str, Callable[[str], int]]] = {
    "word_count": lambda text: len(texts.words(text)),
    "line_count": lambda text: len(text.splitlines()),
    "character_count": len,
}
_EXTRACTS: Final[Mapping[str, Callable[[str], list[Any]]]] = {
    "extract_emails": texts.extract_emails,
    "extract_urls": texts.extract_urls,
    "extract_numbers": texts.extract_numbers,
}
_OPERATIONS: Final = [
    *_CHANGES, *_COUNTS, *_EXTRACTS, "find", "replace", "summarize", "frequency",
]  # fmt: skip


class TextProcessor:
    """Counts, changes and searches texts."""

    spec = ToolSpec(
        name="text_processor",
        description=(
            "Do one operation on a text: change case, reverse or trim it; count words, lines or "
            "characters; extract e-mail addresses, URLs or numbers; find or replace a substring; "
            "word frequency; or summarize by picking its most telling sentences."
        ),
        parameters={
            "type": "object",
            "properties": {
                "operation": {"type": "string", "enum": _OPERATIONS, "description": "What to do."},
                "text": {
                    "type": "string",
                    "maxLength": 1_000_000,
                    "description": "The text itself.",
                },
                "artifact": artifact_parameter(
                    "Instead of `text`: handle of a text.",
                    ("text/plain", "text/html", "text/csv", "text/markdown", "application/json"),
                ),
                "search": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1_000,
                    "description": "For find and replace: the substring, taken literally.",
                },
                "replacement": {
                    "type": "string",
                    "maxLength": 10_000,
                    "default": "",
                    "description": "For replace.",
                },
                "ignore_case": {
                    "type": "boolean",
                    "default": False,
                    "description": "For find.",
                },
                "sentences": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 20,
                    "default": 3,
                    "description": "For summarize: how many sentences.",
                },
            },
            "required": ["operation"],
            "x-exactly-one-of": ["text", "artifact"],
            "additionalProperties": False,
        },
        is_read_only=True,
        produces=("text/plain",),
    )

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do `operation`."""
        text = await _text(arguments, context)
        content = await run_apart(len(text), lambda: _process(text, arguments))
        changed = content.get("text")
        if not isinstance(changed, str) or len(changed) <= INLINE_BYTES_MAX:
            return ToolResult(content=content)
        artifact = await context.artifacts.put(
            name=f"{arguments['operation']}.txt",
            media_type="text/plain",
            data=changed.encode("utf-8", "replace"),
        )
        del content["text"]
        preview = {"preview": shortened(changed, 500)}
        return ToolResult(content=content | kept(artifact) | preview, artifacts=(artifact,))


async def _text(arguments: Mapping[str, Any], context: ToolContext) -> str:
    if "text" in arguments:
        return str(arguments["text"])
    artifact, data = await context.artifacts.get(arguments["artifact"])
    if not is_text(artifact.media_type):
        raise Mistake(f"{artifact.handle} is {artifact.media_type}; that is no text.")
    if len(data) > TEXT_LENGTH_MAX:
        raise Mistake(f"The text has {len(data):,} bytes; at most {TEXT_LENGTH_MAX:,}.")
    return decode_text(data)[0]


def _process(text: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    operation = arguments["operation"]
    content: dict[str, Any] = {"operation": operation}
    if operation in _CHANGES:
        return content | {"text": _CHANGES[operation](text)}
    if operation in _COUNTS:
        return content | {"count": _COUNTS[operation](text)}
    if operation in _EXTRACTS:
        found = _EXTRACTS[operation](text)
        return content | {"count": len(found), "found": found[:LIST_LENGTH_MAX]}
    if operation == "frequency":
        counts = texts.frequency(text)
        top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FREQUENT_MAX]
        words = [{"word": shortened(word), "count": count} for word, count in top]
        return content | {"distinct": len(counts), "words": words}
    if operation == "summarize":
        sentences = texts.summarize(text, arguments.get("sentences", 3))
        note = "extractive: these are sentences of the text itself, chosen by word frequency"
        return content | {"method": note, "text": " ".join(sentences)}
    if "search" not in arguments:
        raise Mistake(f"`search` is missing: {operation} must know what to look for.")
    if operation == "find":
        return content | _find(text, arguments)
    return content | _replace(text, arguments["search"], arguments.get("replacement", ""))


def _find(text: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    flags = re.IGNORECASE if arguments.get("ignore_case", False) else re.NOFLAG
    literal = re.compile(re.escape(arguments["search"]), flags)
    count, matches = 0, []
    for match in literal.finditer(text):
        count += 1
        if count <= LIST_LENGTH_MAX:
            line_start = text.rfind("\n", 0, match.start()) + 1
            excerpt_start = max(line_start, match.start() - EXCERPT_LENGTH)
            excerpt = text[excerpt_start : match.end() + EXCERPT_LENGTH]
            matches.append({"offset": match.start(), "excerpt": excerpt.strip()})
    return {"count": count, "matches": matches}


def _replace(text: str, search: str, replacement: str) -> dict[str, Any]:
    count = text.count(search)
    if len(text) + count * (len(replacement) - len(search)) > TEXT_LENGTH_MAX:
        raise Mistake(f"The result would be longer than {TEXT_LENGTH_MAX:,} characters.")
    return {"count": count, "text": text.replace(search, replacement)}
