"""From the tables of a file to one flat list of known keys.

Here it is decided which key every value belongs to: aliases get their proper name, the flat
spellings of `[memory]` go into it, and prompt keys that slid under a table header return to
the top. TOML makes that slip easy: a key after `[memory]` belongs to it, however far below it
stands. What remains unknown is an error with the nearest known key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.agentfile.aliases import ALIASES, VALUE_ALIASES
from caxton_node.agentfile.report import Report
from caxton_node.agentfile.schema import FIELDS, FREE_TABLES, TABLES
from caxton_node.documents.document import Flaw, Path, dotted, shorten
from caxton_node.documents.nearest import nearest
from caxton_node.documents.readers import found

__all__ = ["Entry", "arrange"]

_TOP_KEYS: Final = frozenset(key for key in FIELDS if "." not in key)
_TOP_NAMES: Final = _TOP_KEYS | set(TABLES)
_SLIP_FROM_PARAMETERS: Final = ("system_prompt", "user_prompt_template", "capabilities")
_SLIP_FROM_TOOL_CONFIG: Final = (*_SLIP_FROM_PARAMETERS, "tools", "documentation")
"""Keys that a table of the author's own may hold only by mistake."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and where it stands."""

    value: Any
    path: Path


class _Arrangement:
    """The entries so far."""

    def __init__(self, report: Report, *, has_headers: bool) -> None:
        self.entries: dict[str, Entry] = {}
        self.slipped: list[tuple[str, Entry]] = []
        self._report = report
        self._has_headers = has_headers

    def add(self, key: str, entry: Entry) -> None:
        """Take the value of a known key, or of an alias of one."""
        alias = ALIASES.get(key)
        if alias:
            key = alias.key
            if alias.has_warning:
                flaw = Flaw(f"is called `{key}` here", "alias", f"Write `{key}`")
                self._report.warn(entry.path, flaw)
        if isinstance(entry.value, str) and (key, entry.value) in VALUE_ALIASES:
            proper = VALUE_ALIASES[key, entry.value]
            flaw = Flaw(f'calls "{proper}" "{entry.value}"', "alias", f'Write "{proper}"')
            self._report.warn(entry.path, flaw)
            entry = Entry(proper, entry.path)
        first = self.entries.setdefault(key, entry)
        # A file can hold a NaN, which differs from itself; and 1 is not `true`.
        is_same = first is entry or (
            type(first.value) is type(entry.value) and first.value == entry.value
        )
        if not is_same:
            message = f"contradicts `{dotted(first.path)}`"
            flaw = Flaw(message, "contradiction", "Keep one of the two")
            self._report.error(entry.path, flaw)

    def table(self, name: str, value: Any) -> None:
        """Take the keys of one of our tables."""
        if not isinstance(value, Mapping):
            fix = f"Write [{name}] and its keys below it" if self._has_headers else None
            flaw = Flaw(f"must be a table, not {found(value)}", "wrong_type", fix)
            self._report.error((name,), flaw)
            return
        for part, item in value.items():
            key, entry = f"{name}.{part}", Entry(item, (name, part))
            if item is None:
                continue
            if key in FIELDS or key in ALIASES:
                self.add(key, entry)
            elif part in _TOP_NAMES and self._has_headers:
                self.slipped.append((part, entry))
            else:
                self.unknown(entry.path)

    def unknown(self, path: Path) -> None:
        """Report what is no key of ours, with the nearest that is."""
        *table, name = (str(part) for part in path)
        if self._report.is_full:
            flaw = Flaw("is not a known key", "unknown_key")
        else:
            flaw = _unknown_in_table(table[0], name) if table else _unknown_at_top(name)
        self._report.error(path, flaw)

    def return_slipped(self) -> None:
        """Put the keys that slid under a header where they belong."""
        for key, entry in self.slipped:
            if key in self.entries or key in TABLES:
                flaw = Flaw("is not a key of this table", "unknown_key", "Remove it")
                self._report.error(entry.path, flaw)
                continue
            header = entry.path[0] if len(entry.path) == 2 else ".".join(map(str, entry.path[:-1]))
            flaw = Flaw(
                f"stands under [{header}] and was taken as the agent's `{key}`",
                "misplaced_key",
                "Move it above the first [table] header",
            )
            self._report.warn(entry.path, flaw)
            self.entries[key] = entry


def arrange(values: Mapping[str, Any], report: Report, *, has_headers: bool) -> dict[str, Entry]:
    """Return the values of a file by known key, and report what is no known key.

    Args:
        values: The document, as it was read.
        report: Takes errors and warnings.
        has_headers: The format has table headers, under which a key can slip by mistake.
    """
    arrangement = _Arrangement(report, has_headers=has_headers)
    for key, value in values.items():
        if value is None:
            continue
        if key in TABLES:
            arrangement.table(key, value)
        elif key in FIELDS or ("." not in key and key in ALIASES):
            arrangement.add(key, Entry(value, (key,)))
        else:
            arrangement.unknown((key,))
    if has_headers:
        for name in sorted(FREE_TABLES & arrangement.entries.keys()):
            _release(name, arrangement)
    arrangement.return_slipped()
    return arrangement.entries


def _release(name: str, arrangement: _Arrangement) -> None:
    """Take out of a table of the author's what can only be there by mistake."""
    entry = arrangement.entries[name]
    if not isinstance(entry.value, Mapping):
        return
    value = dict(entry.value)
    if name == "parameters":
        arrangement.slipped += _taken(value, entry.path, _SLIP_FROM_PARAMETERS, arrangement)
    else:
        for tool, config in value.items():
            if isinstance(config, Mapping):
                value[tool] = dict(config)
                path = (*entry.path, tool)
                arrangement.slipped += _taken(
                    value[tool], path, _SLIP_FROM_TOOL_CONFIG, arrangement
                )
    arrangement.entries[name] = Entry(value, entry.path)


def _taken(
    table: dict[str, Any], path: Path, keys: tuple[str, ...], arrangement: _Arrangement
) -> Iterator[tuple[str, Entry]]:
    for key in keys:
        if key in table and key not in arrangement.entries:
            yield key, Entry(table.pop(key), (*path, key))


def _unknown_at_top(key: str) -> Flaw:
    homes = [table for table in TABLES if f"{table}.{key}" in FIELDS]
    if len(homes) == 1:
        fix = f"It belongs under [{homes[0]}]"
    else:
        near = nearest(key, _TOP_NAMES)
        fix = f"Did you mean `{near}`?" if near else "See the reference of agent files"
    return Flaw("is not a known key", "unknown_key", fix)


def _unknown_in_table(table: str, part: str) -> Flaw:
    known = [key.partition(".")[2] for key in FIELDS if key.startswith(f"{table}.")]
    homes = [other for other in TABLES if f"{other}.{part}" in FIELDS]
    near = nearest(part, known)
    if near:
        fix = f"Did you mean `{table}.{near}`?"
    elif part in _TOP_NAMES:
        fix = "It belongs at the top level"
    elif len(homes) == 1:
        fix = f"It belongs under [{homes[0]}]"
    else:
        fix = f"Known here: {', '.join(known)}"
    return Flaw(f"is not a known key of [{shorten(table)}]", "unknown_key", fix)
