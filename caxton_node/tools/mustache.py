"""Templates without logic: names, sections over lists, and nothing that computes.

`{{name}}` puts a value in, `{{customer.city}}` a value inside another, `{{.}}` the item itself.
`{{#items}}…{{/items}}` is there once for each item of a list, or once if the value is true;
`{{^items}}…{{/items}}` is there if it is false, empty or absent. `{{! a remark }}` is left out. A
line that holds nothing but the mark of a section or a remark leaves no empty line behind.

Of Mustache this leaves out partials, lambdas and other delimiters: a template reaches nothing but
its values. What is put in is never read as a template again.

Pure, and linear in the template and what it yields, up to `LENGTH_MAX` and `STEPS_MAX`.
Reference: mustache(5), and the Mustache specification 1.4 (interpolation, sections, inverted,
comments).
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, assert_never

import msgspec

from caxton_node.documents.nearest import nearest

__all__ = ["LENGTH_MAX", "Escape", "Template", "TemplateError", "parse_template", "render_template"]

DEPTH_MAX: Final = 16
"""Sections within each other."""

TAG_LENGTH_MAX: Final = 1_000
"""Of what stands between the braces, and so of a remark."""

MARGIN_MAX: Final = 200
"""Blanks before and after a tag that has a line to itself."""

LENGTH_MAX: Final = 1_000_000
"""Characters that a template may yield."""

STEPS_MAX: Final = 1_000_000
"""Texts, values and sections that are gone through: a section may be empty and still cost."""

MISSING_MAX: Final = 20
"""Names without a value that are told of."""

Escape = Literal["none", "html"]

_NAME: Final = re.compile(r"\.|[^\s.{}#^/!>=&]{1,100}(?:\.[^\s.{}#^/!>=&]{1,100}){0,15}")
_MARKS: Final = frozenset("#^/!>=&")

_ALONE_MARKS: Final = frozenset("#^/!")
"""Marks of tags that may have a line to themselves."""

_UNKNOWN_MARKS: Final = {
    ">": "other templates cannot be drawn in",
    "=": "the braces cannot be changed",
}


class TemplateError(ValueError):
    """The template cannot be read or filled. The text is for a model."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A place for a value."""

    name: str
    is_raw: bool
    """Never escaped."""
    at: int
    """Where it stands in the template."""


@dataclass(frozen=True, slots=True)
class _Section:
    """A part that is there for each item, or if there is none."""

    name: str
    is_inverted: bool
    at: int
    parts: "list[_Part]" = field(default_factory=list)


_Part = str | _Value | _Section


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read."""

    text: str
    parts: Sequence[_Part]


@dataclass(frozen=True, slots=True)
class _Tag:
    mark: str
    """One of `# ^ / ! > = &`, `{` for three braces, or nothing."""
    name: str
    at: int
    end: int


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        TemplateError: A tag is not closed, or holds something else than a name.
    """
    top: list[_Part] = []
    open_sections: list[_Section] = []
    parts, done = top, 0
    for tag in _tags(text):
        start, end = _extent(text, tag)
        if start > done:
            parts.append(text[done:start])
        done = end
        match tag.mark:
            case "!":
                continue
            case "#" | "^":
                if len(open_sections) == DEPTH_MAX:
                    raise _wrong(text, tag.at, f"more than {DEPTH_MAX} sections within each other")
                section = _Section(tag.name, tag.mark == "^", tag.at)
                parts.append(section)
                open_sections.append(section)
            case "/":
                if not open_sections:
                    raise _wrong(text, tag.at, f"{{{{/{tag.name}}}}} closes what was not opened")
                if open_sections[-1].name != tag.name:
                    due = f"{{{{/{open_sections[-1].name}}}}}"
                    raise _wrong(text, tag.at, f"{{{{/{tag.name}}}}} stands where {due} is due")
                open_sections.pop()
            case _:
                parts.append(_Value(tag.name, tag.mark in ("&", "{"), tag.at))
        parts = open_sections[-1].parts if open_sections else top
    if open_sections:
        name = open_sections[-1].name
        raise _wrong(text, open_sections[-1].at, f"{{{{/{name}}}}} is missing")
    if done < len(text):
        parts.append(text[done:])
    return Template(text, top)


def _tags(text: str) -> Iterator[_Tag]:
    at = text.find("{{")
    while at >= 0:
        is_triple = text.startswith("{{{", at)
        opening, closing = (3, "}}}") if is_triple else (2, "}}")
        close = text.find(closing, at + opening)
        if close < 0:
            raise _wrong(text, at, f"{{{{ without {closing}")
        if close - at > TAG_LENGTH_MAX:
            raise _wrong(text, at, f"more than {TAG_LENGTH_MAX} characters between the braces")
        inside = text[at + opening : close]
        mark = "{" if is_triple else inside[:1] if inside[:1] in _MARKS else ""
        if mark in _UNKNOWN_MARKS:
            raise _wrong(text, at, _UNKNOWN_MARKS[mark])
        name = inside[0 if is_triple else len(mark) :].strip()
        if mark != "!" and not _NAME.fullmatch(name):
            raise _wrong(text, at, f"{name[:60]!r} is no name; only a name may stand in braces")
        yield _Tag(mark, name, at, close + len(closing))
        at = text.find("{{", close + len(closing))


def _extent(text: str, tag: _Tag) -> tuple[int, int]:
    """Return what a tag takes the place of: its whole line, where it has one to itself."""
    if tag.mark not in _ALONE_MARKS:
        return tag.at, tag.end
    # Looked for within bounds, so that a thousand tags on one line do not cost a million steps.
    earliest, latest = max(0, tag.at - MARGIN_MAX), min(len(text), tag.end + MARGIN_MAX)
    start = text.rfind("\n", earliest, tag.at) + 1
    if not start and earliest:
        return tag.at, tag.end
    stop = text.find("\n", tag.end, latest)
    if stop < 0 and latest < len(text):
        return tag.at, tag.end
    line_end = len(text) if stop < 0 else stop + 1
    if text[start : tag.at].strip() or text[tag.end : line_end].strip():
        return tag.at, tag.end
    return start, line_end


def render_template(
    template: Template,
    values: Mapping[str, Any],
    *,
    escape: Escape = "none",
    is_strict: bool = True,
) -> str:
    """Return the template with its values in place.

    Texts go in as they are, nothing for null, other values as JSON.

    Args:
        template: As read.
        values: By name; JSON values.
        escape: What happens to `& < > " '` in values.
        is_strict: A name without a value is a mistake; otherwise it yields nothing. Sections whose
            name has no value are left out either way.

    Raises:
        TemplateError: A value is missing, or the result would be too long.
    """
    rendering = _Rendering(escape)
    rendering.go(template.parts, (values,))
    if is_strict and rendering.missing:
        raise _without_value(template.text, rendering.missing, values)
    return "".join(rendering.pieces)


@dataclass(slots=True)
class _Rendering:
    escape: Escape
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    step_count: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    """Names without a value, and where the first stands."""

    def go(self, parts: Sequence[_Part], scopes: tuple[Any, ...]) -> None:
        for part in parts:
            self.step_count += 1
            if self.step_count > STEPS_MAX:
                raise TemplateError(f"The template takes more than {STEPS_MAX:,} steps.")
            match part:
                case str():
                    self.put(part)
                case _Value():
                    self.put_value(part, scopes)
                case _Section():
                    self.go_in(part, scopes)
                case _ as unreachable:
                    assert_never(unreachable)

    def put(self, text: str) -> None:
        self.length += len(text)
        if self.length > LENGTH_MAX:
            raise TemplateError(f"The result would be longer than {LENGTH_MAX:,} characters.")
        self.pieces.append(text)

    def put_value(self, place: _Value, scopes: tuple[Any, ...]) -> None:
        is_there, value = _find(place.name, scopes)
        if not is_there and len(self.missing) < MISSING_MAX:
            self.missing.setdefault(place.name, place.at)
        text = _text_of(value)
        self.put(html.escape(text) if self.escape == "html" and not place.is_raw else text)

    def go_in(self, section: _Section, scopes: tuple[Any, ...]) -> None:
        _, value = _find(section.name, scopes)
        is_empty = value is None or value is False or value in ("", [])
        if section.is_inverted:
            if is_empty:
                self.go(section.parts, scopes)
        elif not is_empty:
            for item in value if isinstance(value, list | tuple) else (value,):
                self.go(section.parts, (*scopes, item))


def _find(name: str, scopes: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether a name has a value, and which: the innermost that knows its first part."""
    if name == ".":
        return True, scopes[-1]
    first, *rest = name.split(".")
    for scope in reversed(scopes):
        if isinstance(scope, Mapping) and first in scope:
            value = scope[first]
            for key in rest:
                if not isinstance(value, Mapping) or key not in value:
                    return False, None
                value = value[key]
            return True, value
    return False, None


def _text_of(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _wrong(text: str, at: int, what: str) -> TemplateError:
    return TemplateError(f"Line {_line(text, at)}: {what}.")


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _without_value(
    text: str, missing: Mapping[str, int], values: Mapping[str, Any]
) -> TemplateError:
    told = []
    for name, at in missing.items():
        near = nearest(name, (str(key) for key in values))
        told.append(
            f"{name[:60]} (line {_line(text, at)}{f'; did you mean {near}?' if near else ''})"
        )
    return TemplateError("These names have no value: " + ", ".join(told) + ".")
