"""The answers that the server itself gives when an agent cannot. Pure.

A sender who asked always hears the end of it: `failure` with a stable code, or
`not_understood`. Whoever only told something hears nothing, and a negative act is never
answered, so that no two agents can fail at each other for ever.
"""

from typing import Any

from caxton_node.domain.errors import CaxtonError
from caxton_node.domain.message import Message, encode_content, reply_to_message
from caxton_node.domain.performatives import ANSWERABLE, Performative

__all__ = ["error_content", "failure_reply"]


def error_content(error: CaxtonError) -> dict[str, Any]:
    """Return an error as the content of a message."""
    content: dict[str, Any] = {"code": error.code, "detail": error.detail}
    if error.hint:
        content["hint"] = error.hint
    if error.places:
        content["errors"] = [str(place) for place in error.places]
    return content | error.facts


def failure_reply(
    request: Message, error: CaxtonError, *, sender: str, message_id: str, now_ms: int
) -> Message | None:
    """Return what to answer to a request that failed, or None where no answer is due."""
    if request.performative not in ANSWERABLE:
        return None
    act = Performative.NOT_UNDERSTOOD if error.code == "not_understood" else Performative.FAILURE
    return reply_to_message(
        request,
        message_id=message_id,
        sender=sender,
        performative=act,
        content=_encoded(error),
        now_ms=now_ms,
    )


def _encoded(error: CaxtonError) -> bytes:
    """Return an error as JSON, whatever its text is made of.

    An exception of somebody's code may carry half a surrogate pair from a file name, or facts
    without a JSON form. The sender is told all the same.
    """
    try:
        return encode_content(error_content(error))
    except (TypeError, ValueError, RecursionError):
        detail = error.detail.encode("utf-8", "replace").decode()
        return encode_content({"code": error.code, "detail": detail})
