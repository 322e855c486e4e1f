"""JSON as clients send it: read strictly, and no deeper than anything later recurses.

RFC 8259 to the letter: no NaN, no comments, UTF-8 only. A repeated key of an object counts once, as
its last value says.
"""

import re
from typing import Any, Final

import msgspec

from caxton_node.domain.errors import Rejected

__all__ = ["NESTING_MAX", "decode_json"]

_AT_BYTE: Final = re.compile(r"JSON is malformed: (?P<what>.*) \(byte (?P<byte>\d+)\)")

NESTING_MAX: Final = 64
"""Arrays and objects within each other."""


def decode_json(data: bytes, *, what: str = "the body") -> Any:
    """Return the value that JSON text stands for.

    Args:
        data: The text.
        what: What it is, for the sentence of an error.

    Raises:
        Rejected: `malformed_body`.
    """
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise _too_deep(what) from None
    except UnicodeDecodeError:
        raise Rejected("malformed_body", f"{what} is not valid UTF-8") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Rejected("malformed_body", f"{what} is no JSON: {_why(error, data)}") from None
    if data.count(b"[") + data.count(b"{") > NESTING_MAX and _is_deep(value):
        raise _too_deep(what)
    return value


def _why(error: Exception, data: bytes) -> str:
    """Return what the parser found, and where, as a person counts."""
    text = str(error)
    if "truncated" in text:
        return "it ends too early" if data else "it is empty"
    match = _AT_BYTE.fullmatch(text)
    if match is None:
        return text[:1].lower() + text[1:]
    before = data[: int(match["byte"])].decode("utf-8", "replace")
    line = before.count("\n") + 1
    return f"{match['what']}, at line {line}, column {len(before) - before.rfind(chr(10))}"


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(NESTING_MAX):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep(what: str) -> Rejected:
    return Rejected("malformed_body", f"{what} is nested deeper than {NESTING_MAX} levels")
