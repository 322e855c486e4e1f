"""What a tidy source file looks like: rules as plain functions from text to findings.

`tests/test_tidy.py` runs them over the repository. They read files as text and syntax trees and
import nothing of what they judge.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = [
    "BANNED_NAMES",
    "FUNCTION_LINES_MAX",
    "MODULE_LINES_MAX",
    "Finding",
    "attributes_read",
    "banned_names",
    "broken_all",
    "class_fields",
    "code_line_count",
    "directives_without_reason",
    "forbidden_names",
    "links",
    "long_functions",
    "machine_paths",
    "registry_hosts",
    "strings",
    "undocumented",
    "unfinished_work",
]

MODULE_LINES_MAX: Final = 400
"""Lines of code in a module: blank lines, comments and docstrings are free."""

FUNCTION_LINES_MAX: Final = 60
"""Lines of code in a function, counted likewise."""

BANNED_NAMES: Final = frozenset({"utils", "helpers", "common", "manager", "base", "misc"})
"""Names that say nothing of what is inside."""

REASON_LENGTH_MIN: Final = 10
"""Characters; less is no reason."""

_NOT_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)
_CODES: Final = r"[A-Z]+[0-9]+(?:[, ]+[A-Z]+[0-9]+)*"
_DIRECTIVE: Final = re.compile(
    rf"#\s*(?:type:\s*ignore(?:\[[^\]]*\])?|(?:ruff:\s*)?noqa(?::\s*{_CODES})?)"
)
# One letter of each word stands in brackets, so that this file is not its own first finding.
_UNFINISHED: Final = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b")
_MACHINE_PATH: Final = re.compile(r"(?<![\w.])/(?:wor[k]|roo[t]|hom[e]/[a-z][\w-]*)/")
_REGISTRY: Final = re.compile(
    r"\b(?:pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.(?:org|com)|proxy\.golan[g]\.org)\b"
    r"|\b(?:index-url|registry)\b[\"']?\s*[=:\s]\s*[\"']?https?://",
    re.IGNORECASE,
)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Finding:
    """Something untidy."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.line}: {self.text}"


def code_line_count(source: str) -> int:
    """Count the lines that hold code."""
    return len(_code_lines(source))


def _code_lines(source: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # A string that stands alone is documentation: of a module, a class, a field.
        if isinstance(node, ast.Expr) and _is_string(node.value):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def long_functions(source: str) -> Iterator[Finding]:
    """Yield functions with more lines of code than allowed, nested ones counted with their own."""
    lines = _code_lines(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = len(lines.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
            if count > FUNCTION_LINES_MAX:
                yield Finding(node.lineno, f"{node.name} has {count} lines of code")


def banned_names(path: str) -> list[str]:
    """Return the parts of a path that say nothing of what is inside."""
    return [part for part in path.split("/") if part.split(".")[0].strip("_") in BANNED_NAMES]


def undocumented(source: str) -> Iterator[Finding]:
    """Yield public definitions without a docstring: the module, classes, functions, methods."""
    module = ast.parse(source)
    if module.body and ast.get_docstring(module) is None:
        yield Finding(1, "the module has no docstring")
    yield from _undocumented_in(module, "")


def _undocumented_in(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Finding]:
    for node in parent.body:
        if not isinstance(node, Definition) or node.name.startswith("_") or _needs_none(node):
            continue
        if ast.get_docstring(node) is None:
            yield Finding(node.lineno, f"{prefix}{node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            yield from _undocumented_in(node, f"{prefix}{node.name}.")


def _needs_none(node: Definition) -> bool:
    """Tell whether somebody else documents it: an overridden method, an overload, a setter."""
    marks = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return bool(marks & {"override", "overload", "setter", "deleter"})


def directives_without_reason(source: str) -> Iterator[Finding]:
    """Yield comments that silence a tool and do not say why, on the same line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        silenced = list(_DIRECTIVE.finditer(token.string))
        if silenced:
            reason = token.string[silenced[-1].end() :].strip(" #-:")
            if len(reason) < REASON_LENGTH_MIN:
                yield Finding(token.start[0], f"{token.string} gives no reason")


def forbidden_names(source: str, names: frozenset[str]) -> Iterator[Finding]:
    """Yield uses of names that are not to be used."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in names:
            yield Finding(token.start[0], f"{token.string} is not used here")


def unfinished_work(text: str) -> Iterator[Finding]:
    """Yield notes of what is still to be done: do it, or open an issue."""
    yield from _matches(_UNFINISHED, text)


def machine_paths(text: str) -> Iterator[Finding]:
    """Yield paths that exist on one machine only."""
    yield from _matches(_MACHINE_PATH, text)


def registry_hosts(text: str) -> Iterator[Finding]:
    """Yield the hosts of package registries: every user configures their own."""
    yield from _matches(_REGISTRY, text)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        if match := pattern.search(line):
            yield Finding(number, match.group().strip())


def broken_all(source: str) -> Iterator[Finding]:
    """Yield what is wrong with `__all__`: not there, or naming what is not there."""
    module = ast.parse(source)
    exported: list[str] | None = None
    defined: set[str] = set()
    imported: set[str] = set()
    for node in module.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                defined.add(node.name)
            case ast.Import() | ast.ImportFrom():
                imported.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                exported = ast.literal_eval(value)
            case ast.Assign(targets=targets):
                defined.update(name.id for name in targets if isinstance(name, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
    public = {name for name in defined if not name.startswith("_")}
    if exported is None:
        if public:
            yield Finding(1, f"no __all__ beside {', '.join(sorted(public))}")
        return
    for name in exported:
        if name not in defined | imported:
            yield Finding(1, f"__all__ names {name}, which is not there")


def class_fields(source: str, base: str) -> Iterator[tuple[str, str]]:
    """Yield (class, field) for every annotated field of every class derived from `base`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and base in map(ast.unparse, node.bases):
            for member in node.body:
                if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                    yield node.name, member.target.id


def attributes_read(source: str) -> set[str]:
    """Return the names of all attributes that are read."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def strings(source: str) -> set[str]:
    """Return every string literal but documentation."""
    module = ast.parse(source)
    documentation = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and _is_string(node.value)
    }
    return {
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
    }


def links(markdown: str) -> Iterator[str]:
    """Yield the targets of relative links, without their fragments."""
    for target in _LINK.findall(_FENCE.sub("", markdown)):
        path = target.split("#")[0]
        if path and not re.match(r"[a-z][a-z0-9+.-]*:", path):
            yield path
