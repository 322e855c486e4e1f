"""What can go wrong, with the server's stable codes.

The tree, grouped by what the caller can do:

- `CaxtonError`
    - `Rejected`: the request is wrong; mend it and send it again.
    - `NotFound`: what was named does not exist.
    - `Conflict`: it exists, but its state forbids this.
    - `Denied`: the caller may not do this.
    - `Unavailable`: not now; the same request may succeed later.
    - `TimedOut`: the deadline passed.
    - `Failed`: it was tried and went wrong: an agent, a model, a tool, or the server itself.

`code` is the one that REST and the command line show for the same failure. A failure of the
connection has the code `unreachable`, a deadline that passed here `timed_out`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from caxton.v1 import errors_pb2

__all__ = [
    "CaxtonError",
    "Conflict",
    "Denied",
    "Failed",
    "NotFound",
    "Place",
    "Rejected",
    "TimedOut",
    "Unavailable",
    "error_from_detail",
    "error_from_rpc",
]

_DETAILS_KEY: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the input something is wrong, and how to mend it."""

    message: str
    field: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    rule: str | None = None
    fix: str | None = None


class CaxtonError(Exception):
    """What the server said, or what kept it from saying anything.

    Attributes:
        code: Stable name, such as `agent_not_found`.
        detail: What happened, as a sentence for a person.
        hint: What to do about it; None when nothing is known to help.
        places: Where in the input.
        trace_id: Under which the server's log tells more; empty without one.
        facts: Further data for programs.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        places: Iterable[Place] = (),
        trace_id: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.places = tuple(places)
        self.trace_id = trace_id
        self.facts = dict(facts or {})

    def __str__(self) -> str:
        lines = [f"{self.code}: {self.detail}"]
        lines += [f"  {place.message}" for place in self.places]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class Rejected(CaxtonError):
    """The request is wrong; mend it and send it again."""


class NotFound(CaxtonError):
    """What was named does not exist."""


class Conflict(CaxtonError):
    """It exists, but its state forbids this."""


class Denied(CaxtonError):
    """The caller may not do this."""


class Unavailable(CaxtonError):
    """Not now; the same request may succeed later."""


class TimedOut(CaxtonError):
    """The deadline passed."""


class Failed(CaxtonError):
    """It was tried and went wrong: an agent, a model, a tool, or the server itself."""


_BY_STATUS: Final[dict[grpc.StatusCode, tuple[type[CaxtonError], str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (Rejected, "invalid_request"),
    grpc.StatusCode.UNIMPLEMENTED: (NotFound, "route_not_found"),
    grpc.StatusCode.NOT_FOUND: (NotFound, "route_not_found"),
    grpc.StatusCode.FAILED_PRECONDITION: (Conflict, "state_conflict"),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, "already_exists"),
    grpc.StatusCode.UNAUTHENTICATED: (Denied, "unauthenticated"),
    grpc.StatusCode.PERMISSION_DENIED: (Denied, "denied"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Unavailable, "node_busy"),
    grpc.StatusCode.UNAVAILABLE: (Unavailable, "unreachable"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (TimedOut, "timed_out"),
    grpc.StatusCode.CANCELLED: (Failed, "cancelled"),
}

_BY_NUMBER: Final = {code.value[0]: kind for code, (kind, _) in _BY_STATUS.items()}

_BUDGET: Final = "budget_exhausted"


def error_from_rpc(error: grpc.aio.AioRpcError) -> CaxtonError:
    """Return a failed call as an error of this package."""
    kind, code = _BY_STATUS.get(error.code(), (Failed, "internal"))
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            detail = _unpack(value)
            if detail is not None:
                return error_from_detail(detail, kind)
    said = error.details() or error.code().name.lower()
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
        # gRPC itself refuses it, before the server can say so in its own words.
        return Rejected("body_too_large", said)
    return kind(code, said)


def error_from_detail(
    detail: errors_pb2.ErrorDetail, kind: type[CaxtonError] | None = None
) -> CaxtonError:
    """Return what the server says of a failure as an error of this package.

    Args:
        detail: As it says it.
        kind: The class; None tells it from the detail, for what came without a failed call.
    """
    kind = kind or _BY_NUMBER.get(detail.status, Failed)
    return (Failed if detail.code == _BUDGET else kind)(
        detail.code,
        detail.detail,
        hint=detail.hint or None,
        places=[_place(place) for place in detail.places],
        trace_id=detail.trace_id,
        facts=_facts(detail.facts),
    )


def _unpack(packed: bytes) -> errors_pb2.ErrorDetail | None:
    detail = errors_pb2.ErrorDetail()
    try:
        status = errors_pb2.RichStatus.FromString(packed)
    except DecodeError:
        return None
    return detail if any(one.Unpack(detail) for one in status.details) else None


def _facts(text: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(text) if text else {}
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _place(place: errors_pb2.Place) -> Place:
    given = {descriptor.name: value for descriptor, value in place.ListFields()}
    return Place(**{"message": "", **given})
