"""The offline provider's answer, and that it is one.

It says what tools returned and what memory recalled, each with its source, and nothing else.
Every answer ends with the same short note that no model is configured: whoever reads it must
not take rules for a model.
"""

from collections.abc import Sequence
from typing import Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.extracts import extract_lines, headline
from caxton_node.llm.offline.gathered import Gathered, Result
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.selection import Candidate

__all__ = ["NOTE", "from_memory", "from_results", "nothing_fits", "unreadable"]

NOTE: Final = "(No language model is configured; fixed rules composed this answer.)"

ANSWER_LENGTH_MAX: Final = 6_000
"""Characters, without the note."""

TOOL_COUNT_MAX: Final = 12
"""Tools that are named where none fits."""


def from_results(reading: Reading, gathered: Gathered, facts: Sequence[str]) -> str:
    """Say what the calls of this turn came to."""
    blocks: list[str] = []
    steps: list[str] = []
    last = len(gathered.results) - 1
    for index, result in enumerate(gathered.results):
        if result.is_error:
            blocks.append(_failure(result))
        elif index < last and _is_step(result, gathered):
            line = headline(result.value)
            steps.append(f"{result.tool} ({line})" if line else result.tool)
        else:
            lines = extract_lines(result.value, reading.text)
            blocks.append("\n".join([f"From {result.tool}:", *lines]))
    if facts:
        blocks.append(_facts(facts))
    if steps:
        blocks.append(f"Steps before: {'; '.join(steps)}.")
    return _closed("\n\n".join(blocks))


def from_memory(facts: Sequence[str]) -> str:
    """Say what memory recalled."""
    return _closed(_facts(facts))


def nothing_fits(
    reading: Reading, tools: Sequence[ToolSpec], near: Candidate | None, *, has_memory: bool
) -> str:
    """Say that no tool and no memory serves the request, and what there is."""
    lines: list[str] = []
    if reading.is_small_talk:
        lines.append("Without a model this agent answers from its tools and its memory only.")
    elif near is not None:
        lines.append(_why_not(near))
    elif tools:
        lines.append("No tool of this agent fits the request.")
    else:
        lines.append("This agent has no tools to answer the request with.")
    if has_memory:
        lines.append("Nothing in memory matches it either.")
    if tools:
        names = ", ".join(tool.name for tool in tools[:TOOL_COUNT_MAX])
        more = len(tools) - TOOL_COUNT_MAX
        lines.append(f"Tools: {names}{f' and {more} more' if more > 0 else ''}.")
    return _closed("\n".join(lines))


def unreadable() -> str:
    """Say that the request has no words."""
    return _closed("There is nothing readable in the request: it has no words.")


def _why_not(near: Candidate) -> str:
    name = near.tool.name
    if near.tool.is_destructive:
        return f"{name} fits the request, but it may destroy data and is not called by rules."
    if near.filled.missing:
        missing = ", ".join(near.filled.missing)
        return f"{name} may fit, but the request does not say: {missing}."
    if not near.is_allowed:
        return f"{name} may fit, but it changes things and was not asked for in so many words."
    return f"{name} comes nearest, but the request does not clearly ask for it."


def _failure(result: Result) -> str:
    lines = [f"{result.tool} failed:"]
    value = result.value
    error = value.get("error") if isinstance(value, dict) else value
    lines += extract_lines(error, "")
    hint = value.get("hint") if isinstance(value, dict) else None
    if isinstance(hint, str):
        lines.append(hint)
    return "\n".join(lines)


def _is_step(result: Result, gathered: Gathered) -> bool:
    """Its data went into a later call."""
    value = result.value
    handle = value.get("artifact") if isinstance(value, dict) else None
    return any(held.handle == handle and held.is_taken for held in gathered.held)


def _facts(facts: Sequence[str]) -> str:
    return "\n".join(["From memory:", *(f"- {fact}" for fact in facts)])


def _closed(text: str) -> str:
    if len(text) > ANSWER_LENGTH_MAX:
        text = text[: ANSWER_LENGTH_MAX - 1] + "…"
    return f"{text}\n\n{NOTE}"
