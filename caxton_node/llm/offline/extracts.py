"""Results of tools as lines that a person reads, without a word that is not in them.

Shapes are recognised, not tools: an object of objects becomes one line for each, a list of flat
objects likewise, a long text its sentences that share words with the question. Numbers stay as
they were written in the result.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caxton_node.llm.offline.gathered import Literal
from caxton_node.llm.offline.words import content_stems

__all__ = ["extract_lines", "headline"]

LINE_COUNT_MAX: Final = 40
"""Of one result."""

ITEM_COUNT_MAX: Final = 10
"""Of one list, or groups of one object."""

ITEM_LENGTH_MAX: Final = 500
"""Characters of one item of a list."""

PAIR_COUNT_MAX: Final = 20
"""Keys of one object that stand on a line."""

DIGITS_SHOWN: Final = 12
"""Significant digits of a number that is no integer."""

VALUE_LENGTH_MAX: Final = 200
"""Characters of one value within a line."""

TEXT_LENGTH_MAX: Final = 1_200
"""A text up to this length is repeated whole; of a longer one, the sentences that fit."""

SENTENCE_COUNT_MAX: Final = 5

DEPTH_MAX: Final = 4
INLINE_DEPTH_MAX: Final = 6

_TITLES: Final = ("name", "title", "value", "id")
"""Keys that say what an object is called."""

_PLUMBING: Final = frozenset({"artifact", "media_type", "size_bytes"})
"""Said in one line of their own."""

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")


def headline(value: Any) -> str:
    """Return one short line on a result that only led to another one."""
    if isinstance(value, Mapping):
        facts = [
            f"{_label(key)} {_shown(item)}"
            for key, item in list(value.items())[:20]
            if _is_scalar(item) and key != "artifact" and len(_shown(item)) <= 60
        ]
        return ", ".join(facts[:6])
    return _shown(value) if _is_scalar(value) else ""


def extract_lines(value: Any, question: str) -> list[str]:
    """Return what a result says, as at most `LINE_COUNT_MAX` lines. Never raises."""
    lines = _lines(value, question, 0)
    if len(lines) > LINE_COUNT_MAX:
        left = len(lines) - LINE_COUNT_MAX + 1
        lines = [*lines[: LINE_COUNT_MAX - 1], f"… and {left} more lines"]
    return lines


def _lines(value: Any, question: str, depth: int) -> list[str]:
    if isinstance(value, Mapping):
        return _object_lines(value, question, depth)
    if isinstance(value, list | tuple):
        return _list_lines(value, question, depth)
    if isinstance(value, str) and not isinstance(value, Literal):
        return _text_lines(value, question)
    return [_shown(value)]


def _object_lines(value: Mapping[str, Any], question: str, depth: int) -> list[str]:
    lines: list[str] = []
    later: list[str] = []
    seen: set[str] = set()
    for key, item in value.items():
        if key in _PLUMBING:
            continue
        if _is_scalar(item):
            text = str(item)
            # The same text under two keys (a preview and the whole) is said once.
            if isinstance(item, str) and not isinstance(item, Literal) and text in seen:
                continue
            seen.add(text)
        is_short = _is_scalar(item) and len(str(item)) < VALUE_LENGTH_MAX and "\n" not in str(item)
        if is_short:
            lines.append(f"{_label(key)}: {_shown(item)}")
        else:
            later += _member_lines(str(key), item, question, depth)
    lines += later
    handle = value.get("artifact")
    if isinstance(handle, str):
        media_type = value.get("media_type")
        lines.append(f"kept as {handle}" + (f" ({_shown(media_type)})" if media_type else ""))
    return lines


def _member_lines(key: str, item: Any, question: str, depth: int) -> list[str]:
    if item in (None, "", [], {}):
        return []
    if isinstance(item, Mapping) and all(_is_scalar(inner) for inner in item.values()):
        return [f"{_label(key)}: {_shown(_inline(item), ITEM_LENGTH_MAX)}"]
    if depth >= DEPTH_MAX:
        return [f"{_label(key)}: …"]
    if isinstance(item, Mapping):
        lines = [f"{_label(key)}:"]
        for count, (name, inner) in enumerate(item.items()):
            if count >= ITEM_COUNT_MAX:
                lines.append(f"  … and {len(item) - count} more")
                break
            lines += _indented(_member_lines(str(name), inner, question, depth + 1))
            if _is_scalar(inner):
                lines[-1:] = [f"  {_label(name)}: {_shown(inner)}"] if inner is not None else []
        return lines
    inner_lines = _lines(item, question, depth + 1)
    if len(inner_lines) == 1:
        return [f"{_label(key)}: {inner_lines[0].removeprefix('- ')}"]
    return [f"{_label(key)}:", *_indented(inner_lines)]


def _list_lines(value: Sequence[Any], question: str, depth: int) -> list[str]:
    if value and all(_is_scalar(item) for item in value):
        shown = ", ".join(_shown(item) for item in value[: 3 * ITEM_COUNT_MAX])
        more = len(value) - 3 * ITEM_COUNT_MAX
        return [shown + (f", … and {more} more" if more > 0 else "")]
    lines: list[str] = []
    for item in value[:ITEM_COUNT_MAX]:
        text = item.get("text") if isinstance(item, Mapping) else None
        # Content blocks of the Model Context Protocol: the text is all that is said.
        if isinstance(item, Mapping) and item.get("type") == "text" and isinstance(text, str):
            lines += _text_lines(text, question)
        else:
            lines.append(f"- {_shown(_inline(item, depth), ITEM_LENGTH_MAX)}")
    if len(value) > ITEM_COUNT_MAX:
        lines.append(f"… and {len(value) - ITEM_COUNT_MAX} more")
    return lines


def _inline(value: Any, depth: int = 0) -> str:
    """Return a value on one line: `north: count 2`, when an object says what it is called."""
    if depth > INLINE_DEPTH_MAX and not _is_scalar(value):
        return "…"
    if isinstance(value, Mapping):
        title = next((key for key in _TITLES if isinstance(value.get(key), str)), None)
        parts = [
            f"{_label(key)} {_inline(item, depth + 1)}"
            if _is_scalar(item)
            else f"{_label(key)} ({_inline(item, depth + 1)})"
            for key, item in list(value.items())[:PAIR_COUNT_MAX]
            if key != title and item not in (None, "", [], {})
        ]
        rest = ", ".join(parts)
        if title is None:
            return rest
        return f"{_shown(value[title])}: {rest}" if rest else _shown(value[title])
    if isinstance(value, list | tuple):
        shown = "; ".join(_inline(item, depth + 1) for item in value[:ITEM_COUNT_MAX])
        more = len(value) - ITEM_COUNT_MAX
        return shown + (f"; … and {more} more" if more > 0 else "")
    return _shown(value)


def _text_lines(text: str, question: str) -> list[str]:
    text = text.strip()
    if len(text) <= TEXT_LENGTH_MAX:
        return [line.rstrip() for line in text.splitlines() if line.strip()] or ["(empty)"]
    asked = set(content_stems(question))
    sentences = [part.strip() for part in _SENTENCE.split(text[:100_000]) if part.strip()]
    scored = [
        (-len(asked.intersection(content_stems(sentence))), position)
        for position, sentence in enumerate(sentences)
    ]
    best = sorted(position for _, position in sorted(scored)[:SENTENCE_COUNT_MAX])
    # In the order of the text, and said to be a choice.
    chosen = [_shown(sentences[position], 400) for position in best]
    return [*chosen, f"… ({len(text)} characters in all)"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _label(key: object) -> str:
    """Return a key as words; a name with capitals or blanks is somebody's own and stays."""
    text = _shown(str(key), 80)
    return text.replace("_", " ") if text.islower() else text


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _shown(value: Any, length_max: int = VALUE_LENGTH_MAX) -> str:
    match value:
        case None:
            return "none"
        case True:
            return "yes"
        case False:
            return "no"
        case float():
            # The noise of binary fractions is not a finding: 393.09000000000003 is 393.09.
            return repr(float(f"{value:.{DIGITS_SHOWN}g}"))
        case _:
            text = " ".join(str(value).split())
            return text if len(text) <= length_max else text[: length_max - 1] + "…"
