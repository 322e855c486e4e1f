"""Errors as gRPC has them: a status code, a sentence, and the details for programs.

The same table as for REST decides on the code. The details say what a problem document says.

Reference: google.rpc.Status as the "richer error model" of gRPC's error-handling guide.
"""

from typing import Final

import grpc
import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from caxton.v1 import errors_pb2
from caxton_node.domain.errors import CaxtonError, Place

__all__ = ["DETAILS_KEY", "detail_of", "details_metadata", "show_place", "status_code"]

DETAILS_KEY: Final = "grpc-status-details-bin"

DETAIL_LENGTH_MAX: Final = 1_000
PLACES_MAX: Final = 50
"""What a trailer can carry: servers and proxies refuse larger headers."""

FACTS_BYTES_MAX: Final = 2_000
DETAILS_BYTES_MAX: Final = 6_000

_CODES: Final = {code.name: code for code in grpc.StatusCode}


def status_code(error: CaxtonError) -> grpc.StatusCode:
    """Return the status of an error, from the table of errors."""
    return _CODES[error.kind.grpc_status]


def show_place(place: Place) -> errors_pb2.Place:
    """Return where something is wrong, as the wire has it."""
    return errors_pb2.Place(
        message=place.message,
        field=place.field,
        file=place.file,
        line=place.line,
        column=place.column,
        rule=place.rule,
        fix=place.fix,
    )


def detail_of(error: CaxtonError, *, trace_id: str) -> errors_pb2.ErrorDetail:
    """Return all there is to say of an error.

    Args:
        error: What happened.
        trace_id: Under which the log tells more.
    """
    facts = msgspec.json.encode(error.facts) if error.facts else b""
    return errors_pb2.ErrorDetail(
        code=error.code,
        detail=error.detail[:DETAIL_LENGTH_MAX],
        hint=(error.hint or "")[:DETAIL_LENGTH_MAX],
        places=[show_place(place) for place in error.places[:PLACES_MAX]],
        trace_id=trace_id,
        facts=facts if len(facts) <= FACTS_BYTES_MAX else b"",
        status=status_code(error).value[0],
    )


def details_metadata(error: CaxtonError, *, trace_id: str) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata that carries the details of an error."""
    detail = detail_of(error, trace_id=trace_id)
    while len(detail.places) > 1 and detail.ByteSize() > DETAILS_BYTES_MAX:
        del detail.places[len(detail.places) // 2 :]
    packed = AnyMessage()
    packed.Pack(detail)
    number, _ = status_code(error).value
    status = errors_pb2.RichStatus(code=number, message=detail.detail, details=[packed])
    return ((DETAILS_KEY, status.SerializeToString()),)
