"""Where a setting's value may come from, each source as a layer of given values. Pure.

A layer maps the keys of settings to what was given for them. What is no setting is an error
with the nearest key, except that the environment may hold names of others: a name with two
underscores in a row (`CAXTON_HTTP__BIND`) can only mean a setting, and any other unknown
`CAXTON_…` gets a warning. The variables that Kubernetes makes for a service called "caxton"
get none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from caxton_node.config.settings import Setting
from caxton_node.documents.document import Document, Flaw, Path, dotted
from caxton_node.documents.expand import expand_all
from caxton_node.documents.nearest import nearest
from caxton_node.documents.readers import found
from caxton_node.domain.errors import Place

__all__ = ["SHORT_NAMES", "Given", "Layer", "from_environment", "from_file", "from_flags"]

PREFIX: Final = "CAXTON_"

ERRORS_MAX: Final = 50
"""Mistakes after which a file is not read on."""

SHORT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CAXTON_NODE_NAME": "node.name",
        "CAXTON_DATA_DIR": "node.data_dir",
        "CAXTON_LOG_LEVEL": "log.level",
    }
)
"""Variables with a name of their own, beside `CAXTON_<SECTION>__<KEY>`."""

_OTHERS: Final = frozenset(
    {"CAXTON_CONFIG", "CAXTON_SERVER", "CAXTON_DEBUG", "CAXTON_PROFILE", "CAXTON_OUTPUT"}
)
"""Variables that are no settings of the node: the path of the file, and those of the client."""

_KUBERNETES: Final = re.compile(r"(?:_?\w+)?(?:SERVICE_(?:HOST|PORT)|PORT)(?:_\w+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value that somebody gave, and where."""

    value: Any
    origin: str
    """`flag`, `env CAXTON_HTTP__BIND` or `file caxton.toml:12`."""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    is_expanded: bool = False
    """Part of it came from the environment, and may be secret."""

    def place(self, key: str, flaw: Flaw) -> Place:
        """Return the place of a mistake in this value."""
        source = "" if self.file else f" ({self.origin})"
        return Place(
            message=f"`{key}`{source} {flaw.message}",
            field=key,
            file=self.file,
            line=self.line,
            column=self.column,
            rule=flaw.rule,
            fix=flaw.fix,
        )


@dataclass(slots=True)
class Layer:
    """What one source gives."""

    given: dict[str, Given]
    errors: list[Place]
    warnings: list[Place]


def from_flags(flags: Mapping[str, Any], settings: Mapping[str, Setting]) -> Layer:
    """Return what the command line gives; None is a flag that was not used."""
    layer = Layer({}, [], [])
    for key, value in flags.items():
        if value is None:
            continue
        assert key in settings, f"the flag for {key!r} sets nothing"
        if isinstance(value, str):
            value = settings[key].reader.from_text(value)  # noqa: PLW2901 - the same, read
        layer.given[key] = Given(value=value, origin="flag")
    return layer


def from_environment(environment: Mapping[str, str], settings: Mapping[str, Setting]) -> Layer:
    """Return what the environment gives. An empty variable is one that is not set."""
    layer = Layer({}, [], [])
    keys = _known_keys(settings)
    names = {PREFIX + key.upper().replace(".", "__"): key for key in keys} | dict(SHORT_NAMES)
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or not text or name in _OTHERS:
            continue
        key = names.get(name)
        origin = f"env {name}"
        if key is None:
            _unknown_variable(name, names, layer)
        elif key in layer.given and layer.given[key].value != text:
            other = layer.given[key].origin
            flaw = Flaw(f"contradicts {other}", "contradiction", "Remove one of the two")
            layer.errors.append(Given(value=text, origin=origin).place(key, flaw))
        else:
            layer.given[key] = Given(value=text, origin=origin)
    for key, one in layer.given.items():
        if key in settings:
            value = settings[key].reader.from_text(one.value)
            layer.given[key] = Given(value=value, origin=one.origin)
    return layer


def _unknown_variable(name: str, names: Mapping[str, str], layer: Layer) -> None:
    rest = name.removeprefix(PREFIX)
    near = nearest(name, [*names, *_OTHERS])
    fix = f"Did you mean {near}?" if near else None
    if "__" in rest:
        message = f"The environment variable {name[:100]} names no setting"
        layer.errors.append(Place(message=message, field=name[:100], rule="unknown_key", fix=fix))
    elif not _KUBERNETES.fullmatch(rest):
        message = f"The environment variable {name[:100]} means nothing to Caxton"
        layer.warnings.append(
            Place(message=message, field=name[:100], rule="unknown_variable", fix=fix)
        )


def from_file(
    document: Document,
    *,
    file: str,
    environment: Mapping[str, str],
    settings: Mapping[str, Setting],
) -> Layer:
    """Return what a file gives, with the variables in its texts replaced."""
    layer = Layer({}, [], [])
    sections = list(dict.fromkeys(setting.section for setting in settings.values()))
    keys = _known_keys(settings)

    def given(path: Path, value: Any = None, *, is_expanded: bool = False) -> Given:
        line, column = document.place_of(path) or (None, None)
        origin = f"file {file}:{line}"
        return Given(
            value=value,
            origin=origin,
            file=file,
            line=line,
            column=column,
            is_expanded=is_expanded,
        )

    def refuse(path: Path, flaw: Flaw) -> None:
        layer.errors.append(given((*path, *flaw.within)).place(dotted((*path, *flaw.within)), flaw))

    for section, table in document.values.items():
        if len(layer.errors) >= ERRORS_MAX:
            return layer
        if section not in sections:
            refuse((section,), _unknown_section(section, sections, keys))
            continue
        if not isinstance(table, Mapping):
            flaw = Flaw(f"must be a table, not {found(table)}", "wrong_type", f"Write [{section}]")
            refuse((section,), flaw)
            continue
        for name, raw in table.items():
            if len(layer.errors) >= ERRORS_MAX:
                return layer
            path = (section, name)
            key = f"{section}.{name}"
            if key not in keys:
                refuse(path, _unknown_key(section, name, keys))
                continue
            value, flaws = expand_all(raw, environment)
            for flaw in flaws:
                refuse(path, flaw)
            if not flaws:
                layer.given[key] = given(path, value, is_expanded=value != raw)
    return layer


def _known_keys(settings: Mapping[str, Setting]) -> list[str]:
    return [
        name
        for key, setting in settings.items()
        for name in ((key, f"{key}_file") if setting.is_secret else (key,))
    ]


def _unknown_section(section: str, sections: Iterable[str], keys: Iterable[str]) -> Flaw:
    homes = [key for key in keys if key.endswith(f".{section}")]
    near = nearest(section, sections)
    if near:
        fix = f"Did you mean [{near}]?"
    elif homes:
        fix = f"It is called `{homes[0]}`"
    else:
        fix = f"Known here: {', '.join(sections)}"
    return Flaw("is not a known setting", "unknown_key", fix)


def _unknown_key(section: str, name: str, keys: Iterable[str]) -> Flaw:
    here = [key.partition(".")[2] for key in keys if key.startswith(f"{section}.")]
    near = nearest(name, here)
    homes = [key for key in keys if key.endswith(f".{name}")]
    if near:
        fix = f"Did you mean `{section}.{near}`?"
    elif homes:
        fix = f"It is called `{homes[0]}`"
    else:
        fix = f"Known here: {', '.join(here)}"
    return Flaw("is not a known setting", "unknown_key", fix)
