"""What a failed call of an endpoint means: for the caller, and for another attempt.

An endpoint's own words help, so they are shown, but only their beginning and never with the key
in them: some endpoints repeat the key they refuse. For the same reason errors of the SDK, which
hold the whole exchange, are never chained to ours.

Reference: RFC 9110, sections 10.2.3 (Retry-After) and 15.5; OpenAI API reference, "Error codes".
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from caxton_node.domain.errors import Failed

__all__ = ["EndpointFailed", "is_transient", "redacted", "retry_after_s", "status_failed"]

DETAIL_LENGTH_MAX: Final = 300
"""Of what an endpoint says about an error."""

_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


class EndpointFailed(Failed):
    """`model_failed`, with what decides about another attempt.

    Attributes:
        is_transient: Another attempt may succeed.
        wait_s: How long the endpoint asked to wait, in seconds.
    """

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        is_transient: bool = False,
        wait_s: float | None = None,
        facts: dict[str, object] | None = None,
    ) -> None:
        super().__init__("model_failed", detail, hint=hint, facts=facts)
        self.is_transient = is_transient
        self.wait_s = wait_s


def is_transient(status: int) -> bool:
    """Tell whether a request answered with `status` may succeed when it is sent again."""
    return status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after_s(headers: Mapping[str, str], *, now_s: float) -> float | None:
    """Return how long to wait, in seconds, or None where the endpoint did not say.

    Args:
        headers: Of the answer; names in lower case, or a mapping that does not care.
        now_s: Time of day, in seconds since 1970, for a date in the header.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _SECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1_000
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now_s)


def redacted(text: str, api_key: str | None) -> str:
    """Return the beginning of an endpoint's words, on one line and without the key."""
    if api_key:
        text = text.replace(api_key, "[api_key]")
    line = " ".join(text.split())
    return line if len(line) <= DETAIL_LENGTH_MAX else line[: DETAIL_LENGTH_MAX - 1] + "…"


def status_failed(
    status: int, body: object, *, model: str, base_url: str, api_key: str | None
) -> EndpointFailed:
    """Return the error for an answer with a status that is no success."""
    said = redacted(_words(body), api_key)
    match status:
        case 401 | 403:
            hint = "Check `api_key` in [llm], and that it is meant for this `base_url`."
        case 404:
            hint = f"Check the model's name ({model!r}) and `base_url`, which often ends in /v1."
        case 413:
            hint = "The conversation is too long for this model."
        case 429:
            hint = "The endpoint limits the rate or the quota is spent; try again later."
        case 400 | 422:
            hint = "The endpoint does not accept the request; its words above say why."
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            hint = "The fault is at the endpoint; try again later or name a `fallback`."
        case _:
            hint = f"Check that `base_url` ({base_url}) is an OpenAI-compatible endpoint."
    detail = f"The model endpoint answered {status}{_phrase(status)}{': ' + said if said else '.'}"
    return EndpointFailed(
        detail, hint=hint, is_transient=is_transient(status), facts={"http_status": status}
    )


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _words(body: object) -> str:
    """Find the sentence in an error's body: endpoints put it at various depths."""
    value: Any = body
    for key in ("error", "message"):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    if isinstance(value, Mapping):
        value = value.get("detail")
    text = value if isinstance(value, str) else ""
    # A page of HTML is a proxy's, and says nothing.
    return "" if text.lstrip().startswith("<") else text
