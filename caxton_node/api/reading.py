"""From bytes to values: bodies, queries and paths, read within bounds and checked by their models.

The `read_…` functions take a request of HTTP apart; the `check_…` functions take what any edge
found.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final, TypeVar

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from caxton_node.api.problems import rejected_fields
from caxton_node.api.table import Endpoint, PathParameter
from caxton_node.documents.strict_json import decode_json
from caxton_node.domain.errors import CaxtonError, Place, Rejected, error_from_code

__all__ = ["BODY_TIMEOUT_S", "check_body", "check_path", "check_query", "read_body", "read_query"]

BODY_TIMEOUT_S: Final = 20.0
"""A body must have arrived by then."""

BINARY_TIMEOUT_S: Final = 60.0
"""Likewise a file."""

BINARY_MEDIA_TYPE: Final = "application/wasm"
CHUNK_BYTES: Final = 256 * 1024

QUERY_PARAMETERS_MAX: Final = 50

_PLAIN_ENCODINGS: Final = frozenset({None, "", "identity"})

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(http: web.Request, endpoint: Endpoint) -> tuple[BaseModel | None, bytes]:
    """Return a request's body, checked, and its bytes.

    Raises:
        Rejected: `body_too_large`, `unsupported_media_type`, `malformed_body`,
            `invalid_request`.
    """
    if endpoint.binary_bytes_max is not None:
        return None, await _read_binary(http, endpoint.binary_bytes_max)
    model = endpoint.body
    if model is None:
        return None, b""
    if not http.can_read_body and endpoint.is_body_optional:
        return None, b""
    _check_media_type(http)
    data = await _read_bytes(http)
    if not data and endpoint.is_body_optional:
        return None, b""
    return check_body(endpoint, data), data


async def _read_binary(http: web.Request, bytes_max: int) -> bytes:
    if http.content_type != BINARY_MEDIA_TYPE:
        raise Rejected(
            "unsupported_media_type",
            f"the body is {http.content_type[:100]!r}",
            hint=f"Send the file with `Content-Type: {BINARY_MEDIA_TYPE}`.",
        )
    if http.content_length is not None and http.content_length > bytes_max:
        raise _too_large(bytes_max)
    data = bytearray()
    try:
        async with asyncio.timeout(BINARY_TIMEOUT_S):
            async for chunk in http.content.iter_chunked(CHUNK_BYTES):
                data += chunk
                if len(data) > bytes_max:
                    raise _too_large(bytes_max)
    except TimeoutError:
        raise Rejected(
            "malformed_body", f"the body did not arrive within {BINARY_TIMEOUT_S:g} s"
        ) from None
    except (web.RequestPayloadError, aiohttp.ClientError, HttpProcessingError, OSError):
        raise Rejected("malformed_body", "the body broke off or was badly framed") from None
    return bytes(data)


def check_body(endpoint: Endpoint, data: bytes) -> BaseModel | None:
    """Return the body that JSON text holds; None where the endpoint takes none.

    Raises:
        Rejected: `malformed_body`, `invalid_request`.
    """
    model = endpoint.body
    if model is None:
        return None
    value = decode_json(data)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        tags: frozenset[str] = getattr(model, "UNION_TAGS", frozenset())
        names = model.model_fields.keys()
        raise rejected_fields(error, where="body", names=names, union_tags=tags) from None


async def _read_bytes(http: web.Request) -> bytes:
    limit = http.client_max_size
    if http.content_length is not None and http.content_length > limit:
        raise _too_large(limit)
    try:
        if http.content.is_eof():
            # All of it is here already: nothing to wait for.
            return await http.read()
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except TimeoutError:
        raise Rejected(
            "malformed_body", f"the body did not arrive within {BODY_TIMEOUT_S:g} s"
        ) from None
    except (web.RequestPayloadError, aiohttp.ClientError, HttpProcessingError, OSError):
        raise Rejected("malformed_body", "the body broke off or was badly framed") from None


def _too_large(limit: int) -> Rejected:
    return Rejected(
        "body_too_large",
        f"the body is larger than {limit:,} bytes",
        hint="Store large data elsewhere and send its address.",
        facts={"bytes_max": limit},
    )


def _check_media_type(http: web.Request) -> None:
    given = http.headers.get("Content-Type", "")
    if http.content_type != "application/json" or not given:
        raise Rejected(
            "unsupported_media_type",
            f"the body is {given[:100]!r}" if given else "the body has no Content-Type",
            hint="Send JSON with `Content-Type: application/json`.",
        )
    if (http.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise Rejected("unsupported_media_type", "JSON is sent in UTF-8")
    if http.headers.get("Content-Encoding", "").lower() not in _PLAIN_ENCODINGS:
        raise Rejected("unsupported_media_type", "compressed bodies are not taken")


def read_query(http: web.Request, model: type[ModelT]) -> ModelT:
    """Return a request's query, checked.

    Raises:
        Rejected: `invalid_request`, also for a parameter that is unknown or given twice.
    """
    query = http.query
    values = dict(query)
    if len(values) < len(query):
        repeated = sorted({name for name in values if len(query.getall(name)) > 1})
        raise Rejected(
            "invalid_request",
            "the query repeats itself",
            places=[
                Place(f"`{name[:100]}` is given more than once", field=name[:100], rule="repeated")
                for name in repeated[:QUERY_PARAMETERS_MAX]
            ],
        )
    return check_query(values, model)


def check_query(values: Mapping[str, str], model: type[ModelT]) -> ModelT:
    """Return a query, checked.

    Raises:
        Rejected: `invalid_request`.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise rejected_fields(error, where="query", names=model.model_fields.keys()) from None


def check_path(found: Mapping[str, str], parameters: tuple[PathParameter, ...]) -> dict[str, str]:
    """Return the variable parts of a path, checked.

    Raises:
        NotFound: With the parameter's code: nothing that exists has such a name.
    """
    values = {}
    for parameter in parameters:
        value = found[parameter.name]
        if not re.fullmatch(parameter.pattern, value, re.ASCII):
            raise _no_such(parameter, value)
        values[parameter.name] = value
    return values


def _no_such(parameter: PathParameter, value: str) -> CaxtonError:
    shown = value[:100].encode("utf-8", "backslashreplace").decode()
    return error_from_code(
        parameter.missing_code,
        f"{shown!r} is no {parameter.name.replace('_', ' ')}",
        hint=parameter.description,
    )
