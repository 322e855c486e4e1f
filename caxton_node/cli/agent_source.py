"""Reads an agent's file into the body that the API takes: source, format, file."""

import stat
from pathlib import Path
from typing import TypedDict

from caxton_node.domain.errors import Place, Rejected

__all__ = ["AgentSource", "read_agent_file"]


class AgentSource(TypedDict):
    """The body of a deployment."""

    source: str
    format: str
    file: str


def read_agent_file(file: str) -> AgentSource:
    """Return the body for a file.

    Raises:
        Rejected: `invalid_agent`: no file, not readable, too large, no text, or not an agent's
            by its ending.
    """
    from caxton_node.agentfile import detect_format
    from caxton_node.documents.decode import SOURCE_BYTES_MAX, decode_source
    from caxton_node.documents.document import Unreadable

    path = Path(file)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _refused(f"{file} is no file", hint="Name an agent's file")
        form = detect_format(file)
        if status.st_size > SOURCE_BYTES_MAX:
            raise _refused(f"{file} exceeds {SOURCE_BYTES_MAX:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _refused(f"{file} cannot be read: {reason}") from None
    try:
        source = decode_source(data)
    except Unreadable as error:
        place = Place(
            error.flaw.message,
            file=file,
            line=error.line,
            column=error.column,
            rule=error.flaw.rule,
            fix=error.flaw.fix,
        )
        raise Rejected("invalid_agent", f"{file} cannot be read", places=[place]) from None
    return {"source": source, "format": form.value, "file": file}


def _refused(detail: str, *, hint: str | None = None) -> Rejected:
    return Rejected("invalid_agent", detail, hint=hint)
