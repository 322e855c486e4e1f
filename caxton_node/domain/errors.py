"""Every way to fail that a user can meet, each with one stable code.

The tree, grouped by what the caller can do:

- `CaxtonError`
    - `Rejected`: the request is wrong; mend it and send it again.
    - `NotFound`: what was named does not exist.
    - `Conflict`: it exists, but its state forbids this.
    - `Denied`: the caller may not do this.
    - `Unavailable`: not now; the same request may succeed later.
    - `TimedOut`: the deadline passed.
    - `Failed`: it was tried and went wrong (a model, a tool, an agent).
    - `Bug`: our mistake; please report it.

`ERRORS` is the one table behind the REST problem documents, the gRPC status, the exit code of
the command line and the label on the error metric. A code, once released, keeps its meaning.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

__all__ = [
    "ERRORS",
    "Bug",
    "CaxtonError",
    "Conflict",
    "Denied",
    "ErrorKind",
    "Failed",
    "NotFound",
    "Place",
    "Rejected",
    "TimedOut",
    "Unavailable",
    "error_from_code",
]

Advice = Literal["mend", "retry", "give_up", "report"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's input something is wrong, and how to mend it."""

    message: str
    """What is wrong, as a sentence."""
    field: str | None = None
    """Dotted path of the field, such as `llm.temperature`."""
    file: str | None = None
    line: int | None = None
    """1-based."""
    column: int | None = None
    """1-based, in characters."""
    rule: str | None = None
    """Stable name of the rule that was broken, such as `unknown_key`."""
    fix: str | None = None
    """What to do about it, as an imperative sentence."""

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where += f"{':' if where else 'line '}{self.line}"
            if self.column is not None:
                where += f":{self.column}" if self.file else f", column {self.column}"
        head = f"{where}: " if where else ""
        tail = f" ({self.fix})" if self.fix else ""
        return f"{head}{self.message}{tail}"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table: how a code looks on each surface."""

    title: str
    http_status: int
    grpc_status: str
    """Name of a `grpc.StatusCode`."""
    exit_code: int
    """0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 denied, 6 conflict, 7 timed out."""
    advice: Advice


ERRORS: Final[dict[str, ErrorKind]] = {
    "malformed_body": ErrorKind("The body cannot be read", 400, "INVALID_ARGUMENT", 2, "mend"),
    "malformed_request": ErrorKind(
        "The request cannot be read", 400, "INVALID_ARGUMENT", 2, "mend"
    ),
    "unauthenticated": ErrorKind("Who are you?", 401, "UNAUTHENTICATED", 5, "mend"),
    "denied": ErrorKind("Not allowed", 403, "PERMISSION_DENIED", 5, "give_up"),
    "tool_denied": ErrorKind("The tool is not allowed", 403, "PERMISSION_DENIED", 5, "give_up"),
    "route_not_found": ErrorKind("No such address", 404, "UNIMPLEMENTED", 3, "mend"),
    "agent_not_found": ErrorKind("No such agent", 404, "NOT_FOUND", 3, "mend"),
    "version_not_found": ErrorKind("No such version", 404, "NOT_FOUND", 3, "mend"),
    "message_not_found": ErrorKind("No such message", 404, "NOT_FOUND", 3, "mend"),
    "server_not_found": ErrorKind("No such server of tools", 404, "NOT_FOUND", 3, "mend"),
    "module_not_found": ErrorKind("No such WebAssembly file", 404, "NOT_FOUND", 3, "mend"),
    "node_not_found": ErrorKind("No such node", 404, "NOT_FOUND", 3, "mend"),
    "key_not_found": ErrorKind("No such key", 404, "NOT_FOUND", 3, "mend"),
    "memory_not_found": ErrorKind("Nothing such is remembered", 404, "NOT_FOUND", 3, "mend"),
    "conversation_not_found": ErrorKind("No such conversation", 404, "NOT_FOUND", 3, "mend"),
    "no_provider": ErrorKind("Nobody provides this capability", 404, "NOT_FOUND", 3, "retry"),
    "method_not_allowed": ErrorKind("Method not allowed", 405, "UNIMPLEMENTED", 2, "mend"),
    "not_acceptable": ErrorKind("Cannot answer in that type", 406, "INVALID_ARGUMENT", 2, "mend"),
    "state_conflict": ErrorKind("Its state forbids this", 409, "FAILED_PRECONDITION", 6, "mend"),
    "already_exists": ErrorKind("It exists already", 409, "ALREADY_EXISTS", 6, "mend"),
    "body_too_large": ErrorKind("The body is too large", 413, "INVALID_ARGUMENT", 2, "mend"),
    "unsupported_media_type": ErrorKind(
        "Unsupported media type", 415, "INVALID_ARGUMENT", 2, "mend"
    ),
    "invalid_request": ErrorKind("The request is invalid", 422, "INVALID_ARGUMENT", 2, "mend"),
    "invalid_message": ErrorKind("The message is invalid", 422, "INVALID_ARGUMENT", 2, "mend"),
    "invalid_agent": ErrorKind(
        "The agent definition is invalid", 422, "INVALID_ARGUMENT", 2, "mend"
    ),
    "invalid_module": ErrorKind(
        "The WebAssembly file is refused", 422, "INVALID_ARGUMENT", 2, "mend"
    ),
    "invalid_settings": ErrorKind("The settings are invalid", 422, "INVALID_ARGUMENT", 2, "mend"),
    "tool_not_found": ErrorKind("No such tool", 422, "INVALID_ARGUMENT", 3, "mend"),
    "not_understood": ErrorKind("Not understood", 422, "INVALID_ARGUMENT", 1, "mend"),
    "agent_busy": ErrorKind("The agent is busy", 429, "RESOURCE_EXHAUSTED", 1, "retry"),
    "node_busy": ErrorKind("The node is busy", 429, "RESOURCE_EXHAUSTED", 1, "retry"),
    "budget_exhausted": ErrorKind("The budget is spent", 429, "RESOURCE_EXHAUSTED", 1, "give_up"),
    "loop_detected": ErrorKind("The agent repeats itself", 500, "ABORTED", 1, "give_up"),
    "agent_failed": ErrorKind("The agent failed", 500, "INTERNAL", 1, "retry"),
    "internal": ErrorKind("A bug in Caxton", 500, "INTERNAL", 1, "report"),
    "outcome_unknown": ErrorKind("An effect may have happened", 500, "ABORTED", 1, "give_up"),
    "memory_failed": ErrorKind("The memory failed", 500, "INTERNAL", 1, "retry"),
    "tool_failed": ErrorKind("The tool failed", 502, "INTERNAL", 1, "retry"),
    "model_failed": ErrorKind("The model failed", 502, "INTERNAL", 1, "retry"),
    "cancelled": ErrorKind("Cancelled", 409, "CANCELLED", 1, "give_up"),
    "no_majority": ErrorKind("The cluster has no majority here", 503, "UNAVAILABLE", 1, "retry"),
    "node_draining": ErrorKind("The node is stopping", 503, "UNAVAILABLE", 1, "retry"),
    "metadata_unavailable": ErrorKind("etcd cannot be used", 503, "UNAVAILABLE", 1, "retry"),
    "storage_unavailable": ErrorKind("The store cannot write", 503, "UNAVAILABLE", 1, "retry"),
    "unreachable": ErrorKind("The server cannot be reached", 503, "UNAVAILABLE", 4, "retry"),
    "timed_out": ErrorKind("No answer in time", 504, "DEADLINE_EXCEEDED", 7, "retry"),
    "expired": ErrorKind("The message expired", 504, "DEADLINE_EXCEEDED", 7, "give_up"),
}


class CaxtonError(Exception):
    """Something a user can meet. It carries data; a surface decides how to show it.

    Attributes:
        code: Key into `ERRORS`.
        detail: What happened, as a sentence for a person.
        hint: What to do about it, if anything is known to help.
        places: Where in the input, for input that can be mended.
        facts: Further data for programs, JSON values only. Never secrets.
    """

    codes: ClassVar[frozenset[str]] = frozenset(ERRORS)

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        hint: str | None = None,
        places: Iterable[Place] = (),
        facts: dict[str, object] | None = None,
    ) -> None:
        assert code in self.codes, f"{code!r} is not a code of {type(self).__name__}"
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.places = tuple(places)
        self.facts = facts or {}

    @property
    def kind(self) -> ErrorKind:
        """The row of the table for this error's code."""
        return ERRORS[self.code]

    def __str__(self) -> str:
        lines = [self.detail]
        lines += [f"  {place}" for place in self.places]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class Rejected(CaxtonError):
    """The request is wrong; mend it and send it again."""

    codes = frozenset(
        {
            "malformed_body",
            "malformed_request",
            "method_not_allowed",
            "not_acceptable",
            "body_too_large",
            "unsupported_media_type",
            "invalid_request",
            "invalid_message",
            "invalid_agent",
            "invalid_module",
            "invalid_settings",
            "tool_not_found",
            "not_understood",
        }
    )


class NotFound(CaxtonError):
    """What was named does not exist."""

    codes = frozenset(
        {
            "route_not_found",
            "agent_not_found",
            "version_not_found",
            "message_not_found",
            "conversation_not_found",
            "key_not_found",
            "node_not_found",
            "memory_not_found",
            "module_not_found",
            "server_not_found",
            "no_provider",
        }
    )


class Conflict(CaxtonError):
    """It exists, but its state forbids this."""

    codes = frozenset({"state_conflict", "already_exists"})


class Denied(CaxtonError):
    """The caller may not do this."""

    codes = frozenset({"unauthenticated", "denied", "tool_denied"})


class Unavailable(CaxtonError):
    """Not now; the same request may succeed later."""

    codes = frozenset(
        {
            "agent_busy",
            "metadata_unavailable",
            "no_majority",
            "node_busy",
            "node_draining",
            "storage_unavailable",
            "unreachable",
        }
    )


class TimedOut(CaxtonError):
    """The deadline passed."""

    codes = frozenset({"timed_out", "expired"})


class Failed(CaxtonError):
    """It was tried and went wrong: an agent, a model, a tool."""

    codes = frozenset(
        {
            "agent_failed",
            "memory_failed",
            "tool_failed",
            "model_failed",
            "budget_exhausted",
            "loop_detected",
            "cancelled",
            "outcome_unknown",
        }
    )


class Bug(CaxtonError):
    """Our mistake. The text says so and asks for a report."""

    codes = frozenset({"internal"})


_CLASS_OF_CODE: Final[dict[str, type[CaxtonError]]] = {
    code: kind
    for kind in (Rejected, NotFound, Conflict, Denied, Unavailable, TimedOut, Failed, Bug)
    for code in kind.codes
}


def error_from_code(
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    places: Iterable[Place] = (),
    facts: dict[str, object] | None = None,
) -> CaxtonError:
    """Return the error for `code`, as read from a reply or a stored row.

    A code that this version does not know (a newer peer's) becomes `agent_failed`.
    """
    if code not in ERRORS:
        code, detail = "agent_failed", f"{code}: {detail}"
    return _CLASS_OF_CODE[code](code, detail, hint=hint, places=places, facts=facts)
