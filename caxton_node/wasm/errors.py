"""How a guest can fail, told apart by what follows for its sandbox and for the caller."""

from typing import Final, Literal

__all__ = [
    "CODES",
    "GuestRefused",
    "LimitName",
    "OverLimit",
    "SandboxFailed",
    "Trapped",
    "UnfitModule",
    "WorkerLost",
    "code_of_number",
]

LimitName = Literal["time", "cpu", "fuel", "output", "memory"]

CODES: Final[dict[int, str]] = {
    -32602: "invalid_arguments",
    -32601: "not_found",
    -32001: "denied",
    -32002: "unavailable",
    -32603: "failed",
}
"""JSON-RPC's numbers, as guests return them."""

MESSAGE_LENGTH_MAX: Final = 2_000
"""Of a text that a guest or the engine gives as a reason."""


def code_of_number(number: int) -> str:
    """Return the code that a guest's negative result stands for."""
    return CODES.get(number, "failed")


class UnfitModule(Exception):
    """A file that will not be run. The text says why.

    Attributes:
        rule: Stable name of what it breaks.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail[:MESSAGE_LENGTH_MAX])
        self.rule = rule
        self.detail = detail[:MESSAGE_LENGTH_MAX]


class SandboxFailed(Exception):
    """A call came to nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(message[:MESSAGE_LENGTH_MAX])


class GuestRefused(SandboxFailed):
    """The guest answered with an error of its own. Its sandbox goes on.

    Attributes:
        code: One of the documented codes.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code if code in CODES.values() else "failed"


class Trapped(SandboxFailed):
    """The guest broke. Its sandbox is gone; the next call gets a new one."""


class OverLimit(SandboxFailed):
    """The guest was stopped at a limit. Its sandbox is gone; it counts as a violation.

    Attributes:
        limit: Which.
    """

    def __init__(self, limit: LimitName, message: str) -> None:
        super().__init__(message)
        self.limit: LimitName = limit


class WorkerLost(SandboxFailed):
    """The process that the guest ran in has ended. Trying again may succeed."""
