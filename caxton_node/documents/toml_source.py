"""TOML text into a `Document`.

Values come from `tomllib`; dates and times become ISO 8601 text, because everything behind
this point is JSON.
"""

import re
import tomllib
from datetime import date, datetime, time
from typing import Any, Final

from caxton_node.documents.document import Document, Flaw, Unreadable, line_and_column
from caxton_node.documents.toml_positions import locate_keys

__all__ = ["read_toml"]

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_FIXES: Final = {
    "Invalid value": "Text needs quotes; numbers, true and false do not",
    "Expected '=' after a key": "Write key = value; a key with spaces needs quotes",
    "Expected newline or end of document": "Write one key a line, and quotes around a text",
    "Expected ']' at the end of a table": "Close the header: [llm]",
    "Unterminated string": "Close the text with the quotes that opened it",
    "Unclosed array": "Separate items by commas and close the list with ]",
    "Unclosed inline table": "Close the table with }",
    "Unescaped '\\'": "Write \\\\ for one backslash, or use single quotes",
    "Illegal character": "A text of several lines needs three quotes on either side",
    "Invalid initial character": "Quote keys that are more than letters, digits, _ and -",
    "Cannot overwrite": "It is set above already; keep one of the two",
    "Cannot declare": "It is set above already; keep one of the two",
    "Cannot mutate": "It is closed above already; put the key there",
    "Invalid statement": "Write key = value, or a [table] header",
}


def read_toml(text: str) -> Document:
    """Read TOML.

    Raises:
        Unreadable: The text is not TOML, or exceeds a limit.
    """
    positions = locate_keys(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text) from None
    except ValueError:
        # Of all that a reader of numbers may dislike, only the length gets past the grammar.
        flaw = Flaw("A number has too many digits", "syntax", "Write it as text, in quotes")
        raise Unreadable(flaw) from None
    return Document(
        values=_plain(values), text=text, offsets=positions.offsets, spans=positions.spans
    )


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return value


def _syntax_error(message: str, text: str) -> Unreadable:
    place = _PLACE.search(message)
    message = _PLACE.sub("", message)
    line: int | None = None
    column: int | None = None
    if place and place[1]:
        line, column = int(place[1]), int(place[2])
    elif place:
        line, column = line_and_column(text, len(text.rstrip()))
    fix = next((fix for start, fix in _FIXES.items() if message.startswith(start)), None)
    return Unreadable(Flaw(f"Not TOML: {message}", "syntax", fix), line=line, column=column)
