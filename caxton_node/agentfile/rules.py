"""Readers for what only agent files have: names, versions, capabilities, cron lines."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.documents.document import Flaw
from caxton_node.documents.expand import is_reference
from caxton_node.documents.readers import Flawed, found
from caxton_node.domain.agent import AGENT_NAME, EMPTY
from caxton_node.domain.capability import CAPABILITY_LENGTH_MAX, Capability, parse_capability
from caxton_node.domain.placement import read_placement

__all__ = [
    "AgentName",
    "CapabilityName",
    "CronLine",
    "PlacementTerms",
    "SecretReference",
    "Version",
]

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,8})"
_LABEL: Final = r"(?:0|[1-9][0-9]{0,8}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_LABEL}(?:\.{_LABEL})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_VERSION_LENGTH_MAX: Final = 64
_PLAIN_VERSION: Final = re.compile(r"[vV]?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?")


class _FromPlainText:
    __slots__ = ()

    def from_text(self, text: str) -> Any:
        """Return `text`."""
        return text


@dataclass(frozen=True, slots=True)
class AgentName(_FromPlainText):
    """What an agent is called."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "a letter followed by up to 63 letters, digits, - or _"

    def read(self, value: Any) -> str:
        """Return the name."""
        if isinstance(value, str) and AGENT_NAME.fullmatch(value):
            return value
        fix = None
        if isinstance(value, str):
            repaired = re.sub(r"[^A-Za-z0-9_-]+", "-", value[:200]).strip("-")
            repaired = re.sub(r"^[^A-Za-z]+", "", repaired)[:64]
            fix = f'Did you mean "{repaired}"?' if repaired else None
        rule = "form" if isinstance(value, str) else "wrong_type"
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", rule, fix))


@dataclass(frozen=True, slots=True)
class Version(_FromPlainText):
    """A semantic version, as SemVer 2.0.0 defines it."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'a semantic version such as "1.0.0"'

    def read(self, value: Any) -> str:
        """Return the version."""
        if (
            isinstance(value, str)
            and len(value) <= _VERSION_LENGTH_MAX
            and _SEMVER.fullmatch(value)
        ):
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # A file's 1.0 arrives as a number; what was meant can still be told from it.
        text = (repr(value) if abs(value) < 1e9 else "") if is_number else value
        plain = _PLAIN_VERSION.fullmatch(text.strip()) if isinstance(text, str) else None
        fix = None
        if plain:
            parts = ".".join(str(int(part or 0)) for part in plain.groups())
            quoted = " in quotes" if is_number else ""
            fix = f'Write the version{quoted}: "{parts}"'
        rule = "form" if isinstance(value, str) else "wrong_type"
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", rule, fix))


@dataclass(frozen=True, slots=True)
class CapabilityName(_FromPlainText):
    """A capability: what an agent can be asked for."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return "lower-case words joined by - and ., such as data-analysis.visual or translate:v2"

    def read(self, value: Any) -> Capability:
        """Return the capability."""
        capability = parse_capability(value) if isinstance(value, str) else None
        if capability is not None:
            return capability
        if not isinstance(value, str):
            message = f"must be a capability's name, not {found(value)}"
            raise Flawed(Flaw(message, "wrong_type"))
        repaired = _repaired_capability(value)
        fix = f'Did you mean "{repaired}"?' if repaired else None
        raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "capability", fix))


def _repaired_capability(text: str) -> str | None:
    name, colon, version = text[:CAPABILITY_LENGTH_MAX].strip().partition(":")
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()
    name = re.sub(r"[^a-z0-9.]+", "-", name)
    words = [part.strip("-") for part in name.split(".")]
    name = ".".join(word for word in words if word)
    version = version.strip().lower()
    version = f":v{version.removeprefix('v')}" if colon and version else ""
    for repaired in (f"{name}{version}", name):
        if parse_capability(repaired):
            return repaired
    return None


@dataclass(frozen=True, slots=True)
class SecretReference(_FromPlainText):
    """A secret, which a file may point at but never contain."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'a reference to an environment variable, such as "${OPENAI_API_KEY}"'

    def read(self, value: Any) -> str:
        """Return the reference as it is written; expanding it is the caller's next step."""
        if isinstance(value, str) and is_reference(value):
            return value
        # What stands there may be the secret itself, so it is not repeated.
        fix = 'Put the key in the environment and write "${OPENAI_API_KEY}"'
        message = "must be a reference to an environment variable: secrets do not belong in files"
        raise Flawed(Flaw(message, "secret_in_file", fix))


_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _CronPart:
    name: str
    low: int
    high: int
    words: Mapping[str, int] = EMPTY


_CRON_PARTS: Final = (
    _CronPart("minute", 0, 59),
    _CronPart("hour", 0, 23),
    _CronPart("day of the month", 1, 31),
    _CronPart("month", 1, 12, {word: number for number, word in enumerate(_MONTHS, 1)}),
    _CronPart("day of the week", 0, 7, {word: number for number, word in enumerate(_DAYS)}),
)
_CRON_ITEM: Final = re.compile(
    r"(?:\*|(?P<first>[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?)"
    r"(?:/(?P<step>[0-9]{1,3}))?"
)
_CRON_LENGTH_MAX: Final = 200
_PLACEMENT_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class CronLine(_FromPlainText):
    """Five fields that say when: minute, hour, day of the month, month, day of the week."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return 'five cron fields (minute hour day month weekday), such as "0 7 * * 1-5"'

    def read(self, value: Any) -> str:
        """Return the line with single spaces."""
        if not isinstance(value, str) or len(value) > _CRON_LENGTH_MAX:
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "wrong_type"))
        parts = value.split()
        if len(parts) != len(_CRON_PARTS):
            message = f"must be {self.wanted}; this has {len(parts)} fields"
            raise Flawed(Flaw(message, "cron"))
        for text, part in zip(parts, _CRON_PARTS, strict=True):
            if not all(_is_cron_item(item, part) for item in text.lower().split(",")):
                message = (
                    f'has "{text}" for the {part.name}, which goes from {part.low} to {part.high}'
                )
                raise Flawed(Flaw(message, "cron", 'Write "*", "5", "1-5", "*/10" or "1,15"'))
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class PlacementTerms(_FromPlainText):
    """Where an agent may run, and where it runs best."""

    @property
    def wanted(self) -> str:
        """What a value must be."""
        return (
            '"spread", "pack" or "least-loaded", with conditions such as "node=NAME" or "zone=eu"'
        )

    def read(self, value: Any) -> str:
        """Return the rule as it is written in full."""
        if not isinstance(value, str) or len(value) > _PLACEMENT_LENGTH_MAX:
            raise Flawed(Flaw(f"must be {self.wanted}, not {found(value)}", "wrong_type"))
        try:
            return str(read_placement(value))
        except ValueError as problem:
            raise Flawed(Flaw(f"must be {self.wanted}: {problem}", "placement")) from None


def _is_cron_item(text: str, part: _CronPart) -> bool:
    match = _CRON_ITEM.fullmatch(text)
    if match is None or match["step"] == "0":
        return False
    bounds: list[int] = []
    for word in (match["first"], match["last"]):
        if word is None:
            continue
        number = int(word) if word.isdigit() else part.words.get(word)
        if number is None or not part.low <= number <= part.high:
            return False
        bounds.append(number)
    return bounds == sorted(bounds)
