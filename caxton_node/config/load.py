"""Finds the settings of a node: reads one file, asks the environment, listens to the flags."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from caxton_node.config.kinds import Folder, ModelPrice, WrongValue
from caxton_node.config.layers import (
    Given,
    Layer,
    from_environment,
    from_file,
    from_flags,
)
from caxton_node.config.settings import Setting, Settings, all_settings
from caxton_node.documents.decode import decode_source
from caxton_node.documents.document import Flaw, Unreadable, dotted
from caxton_node.documents.readers import Duration, Size
from caxton_node.documents.toml_source import read_toml
from caxton_node.domain.errors import Place, Rejected
from caxton_node.domain.quantities import format_duration, format_size

__all__ = ["LoadedSettings", "load_settings", "shown"]

FILE_NAME: Final = "caxton.toml"
SYSTEM_FOLDER: Final = Path("/etc/caxton")

FILE_BYTES_MAX: Final = 1_000_000
SECRET_BYTES_MAX: Final = 10_000

_HIDDEN: Final = "(secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """The settings in force and how they came to be."""

    settings: Settings
    sources: Mapping[str, tuple[Any, str]]
    """For each key what may be shown of its value, and where it came from: `default`, `flag`,
    `env CAXTON_HTTP__BIND` or `file caxton.toml:12`. Secrets are not shown."""
    warnings: tuple[Place, ...] = ()
    file: Path | None = None
    """The file that was read, if there was one."""


def load_settings(
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    working_dir: Path,
    home: Path,
) -> LoadedSettings:
    """Find the settings in force.

    Args:
        flags: By key of the setting, such as `http.bind`, and `config` for the path of the
            file. None is a flag that was not used.
        environment: Its `CAXTON_…` variables, and whatever the file refers to.
        working_dir: Where relative paths begin.
        home: The user's home directory.

    Raises:
        Rejected: `invalid_settings`, with every mistake at its place.
    """
    settings = {setting.key: setting for setting in all_settings()}
    given_flags = {key: value for key, value in flags.items() if key != "config"}
    layers = [
        _defaults(environment, home),
        from_environment(environment, settings),
        from_flags(given_flags, settings),
    ]
    path = _find_file(flags.get("config"), environment, working_dir=working_dir, home=home)
    if path is not None:
        layers.insert(1, _read_file(path, environment, settings, working_dir=working_dir))
    _raise([error for layer in layers for error in layer.errors])
    given: dict[str, Given] = {}
    for layer in layers:
        _replace_secrets(given, layer)
    _read_secrets(given, settings, working_dir=working_dir, home=home)
    for key, one in given.items():
        is_path = isinstance(settings[key].reader, Folder)
        if is_path and isinstance(one.value, str) and one.value:
            resolved = _absolute(one.value, working_dir=working_dir, home=home)
            given[key] = _with_value(one, str(resolved))
    tree = _validate(given, settings)
    return LoadedSettings(
        settings=tree,
        sources={
            key: (shown(setting, _value(tree, setting)), _origin(given.get(key)))
            for key, setting in settings.items()
        },
        warnings=tuple(warning for layer in layers for warning in layer.warnings),
        file=path,
    )


def _defaults(environment: Mapping[str, str], home: Path) -> Layer:
    """The one default that depends on who asks. Reference: XDG Base Directory, 0.8."""
    data_home = Path(environment.get("XDG_DATA_HOME") or "")
    if not data_home.is_absolute():
        data_home = home / ".local" / "share"
    folder = Given(value=str(data_home / "caxton"), origin="default")
    return Layer({"node.data_dir": folder}, [], [])


def _find_file(
    flag: object, environment: Mapping[str, str], *, working_dir: Path, home: Path
) -> Path | None:
    asked = flag or environment.get("CAXTON_CONFIG")
    if asked:
        return _absolute(str(asked), working_dir=working_dir, home=home)
    config_home = Path(environment.get("XDG_CONFIG_HOME") or "")
    if not config_home.is_absolute():
        config_home = home / ".config"
    folders = (working_dir, config_home / "caxton", SYSTEM_FOLDER)
    return next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)


def _read_file(
    path: Path,
    environment: Mapping[str, str],
    settings: Mapping[str, Setting],
    *,
    working_dir: Path,
) -> Layer:
    name = os.path.relpath(path, working_dir) if path.is_relative_to(working_dir) else str(path)
    try:
        text = decode_source(_read_bounded(path, FILE_BYTES_MAX), bytes_max=FILE_BYTES_MAX)
        document = read_toml(text)
    except OSError as error:
        place = Place(
            message=f"{path} cannot be read: {error.strerror}",
            file=name,
            rule="unreadable_file",
            fix="Name another file with --config, or leave it out",
        )
        raise Rejected("invalid_settings", "The settings cannot be read", places=[place]) from None
    except Unreadable as error:
        place = Place(
            message=error.flaw.message,
            file=name,
            line=error.line,
            column=error.column,
            rule=error.flaw.rule,
            fix=error.flaw.fix,
        )
        raise Rejected("invalid_settings", "The settings cannot be read", places=[place]) from None
    return from_file(document, file=name, environment=environment, settings=settings)


def _read_bounded(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        return file.read(bytes_max + 1)


def _absolute(text: str, *, working_dir: Path, home: Path) -> Path:
    path = Path(text)
    if path.parts[:1] == ("~",):
        return home.joinpath(*path.parts[1:])
    return working_dir / path


def _replace_secrets(given: dict[str, Given], layer: Layer) -> None:
    """Put a layer over those below it. A secret and the file of it replace each other."""
    for key, one in layer.given.items():
        twin = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
        if twin not in layer.given:
            given.pop(twin, None)
        given[key] = one


def _read_secrets(
    given: dict[str, Given], settings: Mapping[str, Setting], *, working_dir: Path, home: Path
) -> None:
    errors: list[Place] = []
    for key in [key for key, setting in settings.items() if setting.is_secret]:
        pointer = given.pop(f"{key}_file", None)
        if pointer is None:
            continue
        if key in given:
            flaw = Flaw(f"and `{key}_file` are both set", "contradiction", "Remove one of the two")
            errors.append(pointer.place(key, flaw))
            continue
        if not isinstance(pointer.value, str):
            flaw = Flaw("must be the path of a file", "wrong_type")
            errors.append(pointer.place(f"{key}_file", flaw))
            continue
        path = _absolute(pointer.value, working_dir=working_dir, home=home)
        try:
            data = _read_bounded(path, SECRET_BYTES_MAX)
            given[key] = _with_value(pointer, decode_source(data, bytes_max=SECRET_BYTES_MAX))
        except OSError as error:
            flaw = Flaw(f"names {path}, which cannot be read: {error.strerror}", "unreadable_file")
            errors.append(pointer.place(f"{key}_file", flaw))
        except Unreadable as error:
            flaw = Flaw(f"names {path}, which is no text: {error.flaw.message}", error.flaw.rule)
            errors.append(pointer.place(f"{key}_file", flaw))
    _raise(errors)


def _with_value(given: Given, value: str) -> Given:
    return Given(
        value=value,
        origin=given.origin,
        file=given.file,
        line=given.line,
        column=given.column,
        is_expanded=given.is_expanded,
    )


def _validate(given: Mapping[str, Given], settings: Mapping[str, Setting]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for key, one in given.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = one.value
    try:
        return Settings.model_validate(nested)
    except ValidationError as problems:
        places: list[Place] = []
        for problem in problems.errors(include_input=False, include_url=False):
            key = ".".join(str(part) for part in problem["loc"][:2])
            error = problem.get("ctx", {}).get("error")
            assert isinstance(error, WrongValue), "every value is read by a reader"
            places += [_place(given[key], settings[key], flaw) for flaw in error.flaws]
        raise _rejected(places) from None


def _place(given: Given, setting: Setting, flaw: Flaw) -> Place:
    if given.is_expanded:
        # What came from the environment may be secret, so that it is not repeated.
        message = f"must be {setting.reader.wanted}; with its variables replaced it is not"
        return given.place(setting.key, Flaw(message, flaw.rule))
    return given.place(dotted((*setting.key.split("."), *flaw.within)), flaw)


def _raise(places: list[Place]) -> None:
    if places:
        raise _rejected(places)


def _rejected(places: list[Place]) -> Rejected:
    what = "1 mistake" if len(places) == 1 else f"{len(places)} mistakes"
    return Rejected("invalid_settings", f"The settings have {what}", places=places)


def _origin(given: Given | None) -> str:
    return "default" if given is None else given.origin


def _value(tree: Settings, setting: Setting) -> Any:
    return getattr(getattr(tree, setting.section), setting.name)


def shown(setting: Setting, value: Any) -> Any:
    """Return what may be shown of a value: JSON, spelled as in the file, without secrets."""
    match value:
        case None:
            return None
        case SecretStr():
            return _HIDDEN
        case bool() | str():
            return value
        case int() | float():
            if isinstance(setting.reader, Duration):
                return format_duration(value)
            return format_size(int(value)) if isinstance(setting.reader, Size) else value
        case Path():
            return str(value)
        case tuple():
            return list(value)
        case Mapping():
            return {name: _shown_price(price) for name, price in value.items()}
        case _:
            raise AssertionError("every kind of setting has a way to be shown")


def _shown_price(price: ModelPrice) -> dict[str, float]:
    return {"input": price.input_usd_per_million, "output": price.output_usd_per_million}
