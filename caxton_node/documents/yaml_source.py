"""YAML text into a `Document`: the plain part of YAML 1.2, without its surprises.

The parser's events become values here, so that nothing recurses, aliases cannot multiply
beyond the limit on values, tags build no objects, and repeated keys are errors. Scalars follow
the JSON-like core schema: `yes`, `off`, `2024-01-01` and `12:30` are text.

Reference: YAML 1.2.2, sections 3 and 10.3.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from caxton_node.documents.document import (
    NESTING_MAX,
    VALUES_MAX,
    Document,
    Flaw,
    Path,
    Unreadable,
    line_and_column,
    shorten,
)

__all__ = ["YAML_CHARS_MAX", "read_yaml"]

YAML_CHARS_MAX: Final = 128_000
"""The parser reads about a megabyte a second, and an event loop may be waiting."""

_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_NUMBER_LENGTH_MAX: Final = 400

_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class _Open:
    """A table or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    start: int
    anchor: str | None
    count_before: int
    key: str | None = None


class _Builder:
    """Values and places so far. Fed with one event after the other."""

    def __init__(self, text: str, offset: int) -> None:
        self.root: Any = None
        self.offsets: dict[Path, int] = {}
        self.spans: dict[Path, tuple[int, int]] = {}
        self._text = text
        self._offset = offset
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._count = 0

    def feed(self, event: Event) -> None:
        if isinstance(event, NodeEvent):
            self._node(event)
        elif isinstance(event, CollectionEndEvent):
            self._close(event)

    def _node(self, event: NodeEvent) -> None:
        match event:
            case AliasEvent():
                self._alias(event)
            case ScalarEvent():
                self._scalar(event)
            case MappingStartEvent() | SequenceStartEvent():
                self._open(event)
            case _:
                raise AssertionError("a node is an alias, a scalar, a table or a list")

    def _scalar(self, event: ScalarEvent) -> None:
        self._refuse_tag(event, event.tag)
        top = self._stack[-1] if self._stack else None
        if top and isinstance(top.value, dict) and top.key is None:
            self._key(event, top)
            return
        is_plain = event.style is None and event.tag is None
        value = _resolve(event.value) if is_plain else event.value
        path = self._path_of_next(event)
        self.spans[path] = (self._start(event), self._end(event))
        self._anchor(event.anchor, value, 1, 0)
        self._attach(value)

    def _key(self, event: ScalarEvent, top: _Open) -> None:
        assert isinstance(top.value, dict), "lists have no keys"
        key = event.value
        path = (*top.path, key)
        if event.style is None and not isinstance(_resolve(key), str):
            raise self._error(
                event, f"The key `{shorten(key)}` is not text", "wrong_type", "Quote it"
            )
        if key in top.value:
            raise self._error(event, f"The key `{shorten(key)}` is written twice", "key_repeated")
        if event.anchor is not None:
            raise self._error(event, "A key cannot have an anchor", "syntax")
        self.offsets[path] = self._start(event)
        top.key = key

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        self._refuse_tag(event, event.tag)
        path = self._path_of_next(event)
        if len(self._stack) > NESTING_MAX:
            raise self._error(
                event, f"More than {NESTING_MAX} levels of nesting", "nested_too_deep"
            )
        value: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        opened = _Open(value, path, self._start(event), event.anchor, self._count)
        self._stack.append(opened)

    def _close(self, event: Event) -> None:
        closed = self._stack.pop()
        self.spans[closed.path] = (closed.start, self._end(event))
        if closed.anchor is not None:
            size = self._count - closed.count_before + 1
            self._anchor(closed.anchor, closed.value, size, _depth(closed.value))
        self._attach(closed.value)

    def _alias(self, event: AliasEvent) -> None:
        anchor = event.anchor or ""
        if anchor not in self._anchors:
            raise self._error(event, f"*{shorten(anchor)} refers to nothing above", "syntax")
        self._path_of_next(event)
        value, size, depth = self._anchors[anchor]
        self._count += size - 1
        if self._count > VALUES_MAX:
            raise self._too_many(event)
        if len(self._stack) + depth > NESTING_MAX + 1:
            raise self._error(
                event, f"More than {NESTING_MAX} levels of nesting", "nested_too_deep"
            )
        self._attach(value)

    def _anchor(self, name: str | None, value: Any, size: int, depth: int) -> None:
        if name is not None:
            self._anchors[name] = (value, size, depth)

    def _attach(self, value: Any) -> None:
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        assert top.key is not None, "a value comes after its key"
        top.value[top.key] = value
        top.key = None

    def _path_of_next(self, event: Event) -> Path:
        self._count += 1
        if self._count > VALUES_MAX:
            raise self._too_many(event)
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            path = (*top.path, len(top.value))
            self.offsets[path] = self._start(event)
            return path
        if top.key is None:
            raise self._error(event, "A key must be text", "wrong_type")
        return (*top.path, top.key)

    def _refuse_tag(self, event: Event, tag: str | None) -> None:
        if tag is not None and tag not in {"!", _TEXT_TAG}:
            raise self._error(
                event, f"The tag {shorten(tag)} is not supported", "syntax", "Remove it"
            )

    def _too_many(self, event: Event) -> Unreadable:
        return self._error(
            event,
            f"More than {VALUES_MAX} keys and list items",
            "too_many_values",
            "Split the file",
        )

    def _start(self, event: Event) -> int:
        assert event.start_mark is not None, "every parsed event knows its place"
        return self._offset + event.start_mark.index

    def _end(self, event: Event) -> int:
        assert event.end_mark is not None, "every parsed event knows its place"
        return self._offset + event.end_mark.index

    def _error(self, event: Event, message: str, rule: str, fix: str | None = None) -> Unreadable:
        line, column = line_and_column(self._text, self._start(event))
        return Unreadable(Flaw(message, rule, fix), line=line, column=column)


def read_yaml(text: str, *, start: int = 0, end: int | None = None) -> Document:
    """Read the YAML table that stands in `text` from `start` to `end`.

    Places count from the beginning of `text`, so that a table within another file has the
    lines of that file.

    Raises:
        Unreadable: No YAML, no table, a repeated key, a tag, or a limit exceeded.
    """
    body = text[start:end]
    if len(body) > YAML_CHARS_MAX:
        flaw = Flaw(f"More than {YAML_CHARS_MAX} characters of YAML", "too_large")
        raise Unreadable(flaw, line=1, column=1)
    builder = _Builder(text, start)
    documents = 0
    try:
        for event in _events(body):
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                raise Unreadable(Flaw("More than one YAML document", "syntax"))
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, start) from None
    except yaml.reader.ReaderError as error:
        line, column = line_and_column(text, start + error.position)
        flaw = Flaw("Not YAML: a control character", "syntax", "Remove it")
        raise Unreadable(flaw, line=line, column=column) from None
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF" names no character; the parser lets chr() say so.
        raise Unreadable(Flaw("Not YAML: an escape names no character", "syntax")) from None
    values = {} if builder.root is None else builder.root
    if not isinstance(values, dict):
        line, column = line_and_column(text, start)
        flaw = Flaw("This must be a table of `key: value` lines", "wrong_type")
        raise Unreadable(flaw, line=line, column=column)
    return Document(
        values=values,
        text=text,
        # The top has a place even when nothing else has.
        offsets={(): start, **builder.offsets},
        spans=builder.spans,
    )


def _events(text: str) -> Iterator[Event]:
    parse: Callable[..., Iterator[Event]] = yaml.parse
    return parse(text, Loader=yaml.SafeLoader)


def _resolve(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if len(text) > _NUMBER_LENGTH_MAX:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        below: list[Any] = []
        for item in level:
            below += item.values() if isinstance(item, dict) else item
        level = [item for item in below if isinstance(item, dict | list)]
    return depth


def _syntax_error(error: yaml.MarkedYAMLError, text: str, start: int) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    line, column = line_and_column(text, start + mark.index) if mark else (None, None)
    problem = error.problem or error.context or "it cannot be read"
    fix = "Indent with spaces, not tabs" if "'\\t'" in problem else None
    return Unreadable(
        Flaw(f"Not YAML: {shorten(problem, length_max=200)}", "syntax", fix),
        line=line,
        column=column,
    )
