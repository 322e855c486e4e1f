"""The types of fields that several bodies and queries share, each checked the same everywhere.

Bodies are strict: a number in quotes is no number. Queries are text, so their numbers and truth
values are read from exactly the spellings that the OpenAPI document promises.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from caxton_node.documents.nearest import nearest
from caxton_node.domain.client_input import (
    CLIENT_ID,
    CONVERSATION_ID,
    LABEL_LENGTH_MAX,
    NO_CONTROL,
    PARTY_LENGTH_MAX,
)
from caxton_node.domain.performatives import Performative, parse_performative

__all__ = [
    "READS_INTEGER",
    "READS_WHOLE",
    "Body",
    "ClientId",
    "ConversationIdText",
    "Cursor",
    "Instant",
    "Label",
    "Limit",
    "NodeNameText",
    "Party",
    "PerformativeField",
    "Query",
    "QueryBool",
    "ReplyBy",
    "View",
    "instant",
]

_INTEGER: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


class Body(BaseModel):
    """A request's body: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """A request's query: no unknown parameters."""

    model_config = ConfigDict(extra="forbid")


class View(BaseModel):
    """A part of a response."""

    model_config = ConfigDict(extra="forbid")


def instant(at_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    seconds, rest_ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"


Instant = Annotated[
    str, WithJsonSchema({"type": "string", "format": "date-time"}), Field(strict=True)
]
"""An instant in a response, from `instant`."""


def _read_instant(value: Any) -> Any:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("write an instant as in RFC 3339, such as 2026-01-31T10:00:00Z")
    try:
        at = datetime.fromisoformat(value.upper())
        return int(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError("there is no such instant") from None


ReplyBy = Annotated[
    int,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant in a body; the model holds milliseconds since 1970."""


def _read_integer(value: Any) -> Any:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("write a whole number")
        return int(value)
    return value


READS_INTEGER: Final = BeforeValidator(_read_integer)
"""Put it after the bounds: `Annotated[int, Field(ge=1), READS_INTEGER]`."""


def _read_whole(value: Any) -> Any:
    # JSON has one kind of number: 3.0 is the integer 3.
    return int(value) if isinstance(value, float) and value.is_integer() else value


READS_WHOLE: Final = BeforeValidator(_read_whole)
"""For a whole number in a strict body; put it after the bounds."""


def _read_bool(value: Any) -> Any:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("write true or false")
        return value == "true"
    return value


QueryBool = Annotated[bool, BeforeValidator(_read_bool)]

NodeNameText = Annotated[str, Field(min_length=1, max_length=64)]
"""The name of a node."""

Limit = Annotated[int, Field(ge=1, le=1000, description="Items on one page."), READS_INTEGER]

Cursor = Annotated[
    str,
    Field(
        max_length=512,
        description="`next_cursor` of the page before. Opaque: pass it back as it was.",
    ),
]


def _read_performative(value: Any) -> Any:
    if isinstance(value, Performative):
        return value
    act = parse_performative(value) if isinstance(value, str) and len(value) <= 64 else None
    if act is None:
        near = nearest(value, Performative) if isinstance(value, str) else None
        if near is not None:
            raise ValueError(f"this is no communicative act. Did you mean {near}?")
        raise ValueError(f"this is no communicative act; there are: {', '.join(Performative)}")
    return act


PerformativeField = Annotated[
    Performative,
    BeforeValidator(_read_performative),
    WithJsonSchema(
        {
            "type": "string",
            "enum": [*Performative, "query"],
            "description": "A communicative act of FIPA. Any case and hyphenation is understood.",
        }
    ),
]

ClientId = Annotated[str, Field(pattern=CLIENT_ID)]

ConversationIdText = Annotated[str, Field(pattern=CONVERSATION_ID)]

Party = Annotated[str, Field(min_length=1, max_length=PARTY_LENGTH_MAX, pattern=NO_CONTROL)]
"""Who sends or receives."""

Label = Annotated[str, Field(min_length=1, max_length=LABEL_LENGTH_MAX, pattern=NO_CONTROL)]
