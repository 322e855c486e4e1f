"""Text that is safe to show in a terminal.

Agents, models and strangers write what the command line prints. A terminal obeys control
characters: it would move the cursor, change its title or answer with keystrokes. So they are
shown, not sent.
"""

import re
from typing import Any, Final

__all__ = ["printable", "text_of"]

# C0 without tab and newline, DEL, C1; then the marks that reorder text (Unicode TR 36, 2.1).
_CONTROL: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def printable(text: str) -> str:
    """Return `text` with its control characters spelled out; line ends become newlines."""
    return _CONTROL.sub(_spelled, text.replace("\r\n", "\n"))


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def text_of(content: Any) -> str:
    """Return the content of a message as a person reads it: text as it is, the rest as JSON."""
    if isinstance(content, str):
        return printable(content)
    import json

    return printable(json.dumps(content, ensure_ascii=False))
