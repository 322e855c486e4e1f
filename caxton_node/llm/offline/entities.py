"""What a request names literally: addresses, paths, numbers, quotations, data.

Extraction goes from the most certain form to the least, and each match is blanked out before the
next form is looked for, so that the path in a URL is no file and the digits in a date no numbers.

Regular expressions here must be linear: they read text from strangers.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from caxton_node.llm.offline.places import ABBREVIATIONS, REGIONS, ZONE_BY_NAME

__all__ = ["Entity", "Kind", "extract", "is_directory"]

TEXT_LENGTH_MAX: Final = 20_000
"""Characters of a request that are looked at."""

ENTITY_COUNT_MAX: Final = 200

JSON_ATTEMPT_MAX: Final = 20
"""Places at which JSON may begin."""

Kind = Literal[
    "artifact",
    "code",
    "csv",
    "date",
    "datetime",
    "email",
    "glob",
    "identifier",
    "json",
    "name",
    "number",
    "path",
    "quoted",
    "revision",
    "sql",
    "time",
    "timezone",
    "url",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One thing that the request names."""

    kind: Kind
    value: Any
    """As a tool wants it: a number, `15:00` for 3pm, `Asia/Tokyo` for Tokyo, parsed JSON."""
    text: str
    """As it stands in the request."""
    start: int
    end: int

    @property
    def is_typed(self) -> bool:
        """Its form alone says what it is; a tool that ignores it does not fit well."""
        return self.kind not in {"quoted", "name", "identifier", "number", "code"}


_FENCE: Final = re.compile(r"```[A-Za-z0-9+-]*\n?([^`]{1,20000})```")
_INLINE_CODE: Final = re.compile(r"`([^`\n]{1,500})`")
_QUOTED: Final = re.compile(
    r"\"([^\"\n]{1,2000})\"|“([^”]{1,2000})”|«([^»]{1,2000})»"
    r"|(?<![^\s(\[:=,])'([^'\n]{1,500})'(?![A-Za-z0-9])"
)
_URL: Final = re.compile(r"\b(?:https?|ftp|file|ws|wss|data)://[^\s<>\"'`]{1,2000}", re.IGNORECASE)
_BARE_HOST: Final = re.compile(
    r"(?<![\w@./-])(?:www\.[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,4}|[a-z0-9-]{1,63}"
    r"(?:\.[a-z0-9-]{1,63}){0,3}\.(?:com|org|net|io|dev|edu|gov))(?:/[^\s<>\"'`]{0,500})?(?![\w@])",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}"
)
_ARTIFACT: Final = re.compile(r"\bartifact:[1-9][0-9]{0,9}\b")
_SQL: Final = re.compile(
    r"\b(?:SELECT\s.{1,2000}?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|CREATE\s+TABLE\s).{1,2000}",
    re.DOTALL,
)
_GLOB: Final = re.compile(r"(?<![\w*/.-])(?:[\w./-]{0,100}/)?\*{1,2}[\w*./-]{0,100}")
_DATETIME: Final = re.compile(
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?(?!\w)"
)
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_TIME: Final = re.compile(
    r"\b(?:(\d{1,2}):(\d\d)(?::\d\d)?\s?([ap])?\.?(?:m\.?)?|(\d{1,2})\s?([ap])\.?m\b\.?)(?!\w)",
    re.IGNORECASE,
)
_CLOCK_WORD: Final = re.compile(r"\b(noon|midday|midnight)\b", re.IGNORECASE)
_ZONE: Final = re.compile(rf"\b(?:{'|'.join(REGIONS)})/[A-Z][A-Za-z_]{{1,30}}(?:/[A-Z]\w{{1,30}})?")
_CITY: Final = re.compile(
    r"\b(?:"
    + "|".join(re.escape(name) for name in sorted(ZONE_BY_NAME, key=lambda n: (-len(n), n)))
    + r")\b",
    re.IGNORECASE,
)
_PATH: Final = re.compile(
    r"(?<![\w/.:])(?:[A-Za-z]:\\[^\s\"'<>|]{1,300}"
    r"|(?:~|\.{1,2})?/[\w.@+=,%-][^\s\"'`<>|,;)]{0,300}|(?:~|\.{1,2})/)"
)
_RELATIVE: Final = re.compile(r"(?<![\w/.:@-])[\w@+-][\w.@+-]{0,100}(?:/[\w.@+-]{1,100}){1,20}/?")
_SUFFIX: Final = re.compile(r"\.[A-Za-z]\w{0,7}\.?$")
_SLASHED: Final = re.compile(r"(?<![\w/])[A-Za-z][\w.-]{0,100}(?:/[\w.-]{1,100}){1,5}(?![\w/])")
_FILE_NAME: Final = re.compile(
    r"(?<![\w/.:@])(?:[\w-][\w-]{0,80}(?:\.[\w-]{1,40}){0,3}"
    r"\.(?:txt|md|rst|csv|tsv|json|jsonl|ya?ml|toml|xml|html?|pdf|docx?|xlsx?|pptx?|log|ini|cfg|conf|py|js|ts|"
    r"tsx|jsx|go|rs|c|h|cpp|hpp|java|rb|php|sh|sql|db|sqlite|png|jpe?g|gif|svg|webp|mp3|wav|ogg|"
    r"flac|mp4|mov|zip|gz|tar|parquet|ipynb|lock|env|bin|dat|wasm|css))(?![\w/])"
    r"|(?<![\w/.:@])(?:Makefile|Dockerfile|README|LICENSE)\b",
    re.IGNORECASE,
)
_HERE: Final = re.compile(
    r"\b(?:this|the current|current|our) (?:working )?(?:directory|folder|repo|repository|project)"
    r"\b",
    re.IGNORECASE,
)
_REVISION: Final = re.compile(
    r"\bHEAD(?:[~^]\d{0,4}){0,4}|\b(?=[0-9a-f]{0,40}\d)(?=\d{0,40}[a-f])[0-9a-f]{7,40}\b"
    r"|\bv\d{1,4}(?:\.\d{1,6}){1,3}\b"
)
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3}){1,6}(?![\d,])|\d{1,18})(?:\.\d{1,18})?(?![\w]|\.\d)"
)
_NUMBER_WORDS: Final = {
    "zero": 0,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
"""Without *one*, which is a pronoun more often."""
_NUMBER_WORD: Final = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
_IDENTIFIER: Final = re.compile(r"(?<![\w-])(?=[\w-]*[-_\d])[A-Za-z][\w]*(?:-[\w]+)*(?![\w-])")
_NAME: Final = re.compile(
    r"(?<![\w.])(?:[A-Z][\w'’]{1,40}|[A-Z](?=\s[A-Z]))"
    r"(?:[ -](?:of|de|van|von|the)?\s?[A-Z][\w'’]{1,40}){0,4}"
)
_TRAILING: Final = ".,;:!?)]}'\"’”»"


def is_directory(path: str) -> bool:
    """Tell whether a path looks like a folder: it ends in a slash or has no suffix."""
    last = path.rstrip("/").rpartition("/")[2]
    return path.endswith("/") or path in {".", "..", "~"} or "." not in last.lstrip(".")


def extract(text: str) -> tuple[Entity, ...]:
    """Return what `text` names, in the order in which it stands there. Never raises."""
    text = text[:TEXT_LENGTH_MAX]
    left = _Left(text)
    left.take("code", _FENCE, group=1)
    left.take("code", _INLINE_CODE, group=1)
    left.found = [_specified(entity) for entity in left.found]
    _take_json(left)
    _take_csv(left)
    left.take("quoted", _QUOTED, group=-1)
    left.take("artifact", _ARTIFACT)
    left.take("url", _URL, trim=True)
    left.take("email", _EMAIL, trim=True)
    left.take("url", _BARE_HOST, value=lambda match: f"https://{match[0]}", trim=True)
    left.take("sql", _SQL, trim=True)
    left.take("datetime", _DATETIME)
    left.take("date", _DATE)
    left.take("time", _TIME, value=_clock)
    left.take("time", _CLOCK_WORD, value=lambda match: _NOON[match[0].lower()])
    left.take("timezone", _ZONE)
    left.take("glob", _GLOB, trim=True)
    left.take("path", _PATH, trim=True)
    left.take("path", _RELATIVE, value=_relative, trim=True)
    left.take("path", _FILE_NAME)
    left.take("path", _HERE, value=lambda _: ".")
    left.take("timezone", _CITY, value=_zone)
    left.take("identifier", _SLASHED, trim=True)
    left.take("revision", _REVISION)
    left.take("number", _NUMBER, value=_number)
    left.take("number", _NUMBER_WORD, value=lambda match: _NUMBER_WORDS[match[0].lower()])
    left.take("identifier", _IDENTIFIER)
    left.take("name", _NAME, value=_name)
    return tuple(sorted(left.found, key=lambda entity: (entity.start, entity.end)))


_NOON: Final = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}


def _number(match: re.Match[str]) -> int | float:
    digits = match[0].replace(",", "")
    return float(digits) if "." in digits else int(digits)


def _relative(match: re.Match[str]) -> str | None:
    """Return `a/b.txt`, `a/b/` and `a/b/c`; `a/b` may be a choice of words, or a branch."""
    path = match[0]
    is_path = path.endswith("/") or path.count("/") >= 2 or _SUFFIX.search(path) is not None
    return path if is_path else None


def _name(match: re.Match[str]) -> str | None:
    """Return a name; one capital at the beginning of a sentence is only spelling."""
    before = match.string[: match.start()].rstrip(" \t\"'“(")
    is_first = not before or before[-1] in ".!?:\n"
    name = re.sub(r"['’]s$", "", match[0])
    return None if is_first and " " not in name else name


def _zone(match: re.Match[str]) -> str | None:
    """Return the zone of a city; `est` in lower case is a word of some language."""
    name = match[0].lower()
    if name in ABBREVIATIONS and name not in {"utc", "gmt"} and not match[0].isupper():
        return None
    return ZONE_BY_NAME[name]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _clock(match: re.Match[str]) -> str | None:
    """Return `HH:MM` on the 24-hour clock, or None for what is no time."""
    hour = int(match[1] or match[4])
    minute = int(match[2] or 0)
    half = (match[3] or match[5] or "").lower()
    if hour > 23 or minute > 59 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour:02d}:{minute:02d}"


class _Left:
    """The part of the text that nothing was found in yet."""

    def __init__(self, text: str) -> None:
        self.original = text
        self.text = text
        self.found: list[Entity] = []

    def take(
        self,
        kind: Kind,
        pattern: re.Pattern[str],
        *,
        value: Callable[[re.Match[str]], Any] | None = None,
        group: int = 0,
        trim: bool = False,
    ) -> None:
        """Keep all matches; -1 is the group that matched last."""
        for match in pattern.finditer(self.text):
            start, end = match.span(group if group >= 0 else match.lastindex or 0)
            found = value(match) if value is not None else self.original[start:end]
            if found is None:
                continue
            end = match.end()
            if trim and isinstance(found, str):
                kept = _trimmed(found)
                end -= len(found) - len(kept)
                found = kept
            if end > match.start() and found != "":
                self.add(kind, found, match.start(), end)

    def add(self, kind: Kind, value: Any, start: int, end: int) -> None:
        if len(self.found) >= ENTITY_COUNT_MAX:
            return
        text = self.original[start:end]
        # What holds an earlier find swallows it: a list in a quotation is part of what is quoted.
        self.found = [one for one in self.found if one.end <= start or end <= one.start]
        self.found.append(Entity(kind=kind, value=value, text=text, start=start, end=end))
        blank = "".join(char if char == "\n" else " " for char in self.text[start:end])
        self.text = self.text[:start] + blank + self.text[end:]


def _trimmed(text: str) -> str:
    """Drop what ends the sentence, not the address; a closing bracket may belong to it."""
    while text and text[-1] in _TRAILING:
        if text[-1] == ")" and text.count("(") >= text.count(")"):
            break
        text = text[:-1]
    return text


_JSON_BEGIN: Final = re.compile(r"[{\[]")
_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)


def _take_json(left: _Left) -> None:
    position = 0
    for _ in range(JSON_ATTEMPT_MAX):
        match = _JSON_BEGIN.search(left.text, position)
        if match is None:
            return
        position = match.start() + 1
        try:
            value, end = _JSON.raw_decode(left.text, match.start())
        except (ValueError, RecursionError):
            continue
        if value:
            left.add("json", value, match.start(), end)
            position = end


def _take_csv(left: _Left) -> None:
    for start, end in _csv_blocks(left.text):
        left.add("csv", left.original[start:end], start, end)


def _specified(entity: Entity) -> Entity:
    """Return what a piece of code is, if it is JSON or a table."""
    text = entity.value.strip()
    try:
        value = _JSON.decode(text) if text[:1] in {"{", "["} else None
    except (ValueError, RecursionError):
        value = None
    if value:
        return replace(entity, kind="json", value=value)
    if list(_csv_blocks(text)) == [(0, len(text))]:
        return replace(entity, kind="csv", value=text)
    return entity


def _csv_blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield blocks of at least two lines with the same number of commas, and no prose."""
    start = end = columns = rows = 0
    position = 0
    for line in [*text.split("\n"), ""]:
        commas = line.count(",")
        looks_tabular = commas > 0 and ", " not in line and len(line) <= 2_000
        if rows and looks_tabular and commas == columns:
            rows += 1
            end = position + len(line)
        else:
            if rows >= 2:
                yield start, end
            rows = 1 if looks_tabular else 0
            start, end, columns = position, position + len(line), commas
        position += len(line) + 1
