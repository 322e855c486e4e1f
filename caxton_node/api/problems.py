"""Errors as problem documents: one shape for everything that goes wrong.

Reference: RFC 9457, Problem Details for HTTP APIs.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caxton_node.api.wording import wording
from caxton_node.documents.nearest import nearest
from caxton_node.domain.errors import CaxtonError, Place, Rejected

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "FieldProblem",
    "Problem",
    "problem_of",
    "rejected_fields",
    "retry_after",
]

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

ERRORS_SHOWN_MAX: Final = 50
"""Broken fields that one document names."""

_RETRY_STATUSES: Final = frozenset({429, 503})


class FieldProblem(BaseModel, extra="forbid"):
    """One thing that is wrong with the input, and where."""

    message: str
    field: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    rule: str | None = None
    fix: str | None = None


class Problem(BaseModel):
    """A problem document. Further members, such as `suggestions`, depend on the code."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:caxton:error:agent_not_found"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    code: str
    trace_id: str
    hint: str | None = None
    errors: list[FieldProblem] | None = None


def problem_of(error: CaxtonError, *, instance: str, trace_id: str) -> dict[str, Any]:
    """Return an error as a problem document.

    Args:
        error: What happened.
        instance: The path that was asked for.
        trace_id: Under which the log tells more.
    """
    kind = error.kind
    # Facts come first: none of them may stand in for what a client relies on.
    document: dict[str, Any] = dict(error.facts)
    document |= {
        "type": f"urn:caxton:error:{error.code}",
        "title": kind.title,
        "status": kind.http_status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "trace_id": trace_id,
    }
    if error.hint:
        document["hint"] = error.hint
    if error.places:
        document["errors"] = [_field_problem(place) for place in error.places[:ERRORS_SHOWN_MAX]]
    return document


def _field_problem(place: Place) -> dict[str, Any]:
    names = ("message", "field", "file", "line", "column", "rule", "fix")
    return {name: value for name in names if (value := getattr(place, name)) is not None}


def retry_after(error: CaxtonError) -> str | None:
    """Return the value of a Retry-After header, in whole seconds, where one is due."""
    if error.kind.http_status not in _RETRY_STATUSES:
        return None
    wait_s = error.facts.get("retry_after_s", 1)
    return str(max(1, math.ceil(wait_s))) if isinstance(wait_s, int | float) else "1"


def rejected_fields(
    error: ValidationError,
    *,
    where: str,
    names: Collection[str] = (),
    union_tags: frozenset[str] = frozenset(),
) -> Rejected:
    """Return what pydantic found as an error of ours, naming every field.

    Args:
        error: As raised by a model of a body or a query.
        where: `body` or `query`, for the sentence.
        names: Of the fields there are, for what was misspelled.
        union_tags: Names that pydantic puts before the fields of a tagged union; no field
            that the client knows.
    """
    found = error.errors(include_url=False, include_input=False)
    return Rejected(
        "invalid_request",
        f"the {where} breaks {'a rule' if len(found) == 1 else f'{len(found)} rules'}",
        places=[_place(one, where, names, union_tags) for one in found[:ERRORS_SHOWN_MAX]],
    )


def _place(
    found: Mapping[str, Any], where: str, names: Collection[str], union_tags: frozenset[str]
) -> Place:
    location = found["loc"]
    field = _dotted(location[1:] if location and location[0] in union_tags else location)
    rule = str(found["type"])
    if rule == "extra_forbidden":
        near = nearest(field, names)
        fix = f"Did you mean `{near}`?" if near else "remove it"
        return Place(f"`{field}` is not known here", field=field, rule="unknown_key", fix=fix)
    if rule == "missing":
        return Place(f"`{field}` is missing", field=field, rule="required", fix=f"give `{field}`")
    message = str(found["msg"])
    if rule == "value_error":
        told = message.removeprefix("Value error, ")
        return Place(f"`{field}`: {told}" if field else told, field=field or None, rule=rule)
    what = wording(rule, message, found.get("ctx", {}))
    return Place(
        f"`{field}` {what}" if field else f"the {where} {what}", field=field or None, rule=rule
    )


def _dotted(location: Iterable[str | int]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part[:100]}" if text else part[:100]
    return text
