"""The way from a file's bytes to a checked agent, for each format."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from caxton_node.agentfile.check import Surroundings, ToolMistakes, check_agent
from caxton_node.agentfile.markdown_source import read_markdown
from caxton_node.agentfile.report import Report
from caxton_node.documents.decode import decode_source
from caxton_node.documents.document import Document, Flaw, Unreadable
from caxton_node.documents.json_source import read_json
from caxton_node.documents.toml_source import read_toml
from caxton_node.domain.agent import EMPTY, AgentSpec
from caxton_node.domain.errors import Place, Rejected

__all__ = ["AgentFormat", "ParsedAgent", "detect_format", "parse_agent", "source_digest"]


class AgentFormat(StrEnum):
    """How an agent is written."""

    TOML = "toml"
    MARKDOWN = "markdown"
    """YAML front matter; the body is documentation."""
    JSON = "json"
    """What programs send. Its errors name fields and no lines."""


_FORMATS: Final = {
    ".toml": AgentFormat.TOML,
    ".md": AgentFormat.MARKDOWN,
    ".markdown": AgentFormat.MARKDOWN,
    ".json": AgentFormat.JSON,
}

_ASSIGNMENTS: Final = {
    AgentFormat.TOML: "{key} = {value}",
    AgentFormat.MARKDOWN: "{key}: {value}",
    AgentFormat.JSON: '"{key}": {value}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAgent:
    """A checked agent and what its author should know."""

    spec: AgentSpec
    warnings: tuple[Place, ...] = ()
    digest: str
    """`source_digest` of what was parsed."""


def detect_format(file_name: str) -> AgentFormat:
    """Return the format that a file's name promises.

    Raises:
        Rejected: `invalid_agent`, for an ending that no agent file has.
    """
    format_ = _FORMATS.get(PurePath(file_name).suffix.lower())
    if format_ is None:
        raise Rejected(
            "invalid_agent",
            f"{file_name} is no agent file by its name",
            hint="Agent files end in .toml, .md or .json",
        )
    return format_


def source_digest(source: str | bytes) -> str:
    """Return the SHA-256 of a file, in hexadecimal: two files are the same when these are."""
    data = source.encode(errors="surrogatepass") if isinstance(source, str) else source
    return hashlib.sha256(data).hexdigest()


def parse_agent(
    source: str | bytes,
    *,
    format: AgentFormat,  # noqa: A002 - the word of the REST body and of the command line
    file: str | None = None,
    environment: Mapping[str, str] = EMPTY,
    known_tools: Collection[str] | None = None,
    tool_mistakes: ToolMistakes = lambda _name, _config: (),
) -> ParsedAgent:
    """Read and check an agent.

    Args:
        source: The whole file, at most `SOURCE_BYTES_MAX`.
        format: How it is written.
        file: Its name, for errors.
        environment: The variables that `${VAR}` may see. A file that a stranger sent should
            see none: it could send them anywhere.
        known_tools: The tools there are; None leaves that question open.
        tool_mistakes: Tells what is wrong with what the file says of a tool.

    Raises:
        Rejected: `invalid_agent`, with every mistake at its place.
    """
    body: str | None = None
    try:
        text = decode_source(source)
        match format:
            case AgentFormat.TOML:
                document = read_toml(text)
            case AgentFormat.JSON:
                document = read_json(text)
            case AgentFormat.MARKDOWN:
                document, body = read_markdown(text)
    except Unreadable as error:
        raise _unreadable(error, file) from None
    report = Report(document, file)
    surroundings = Surroundings(
        environment=environment,
        known_tools=known_tools,
        tool_mistakes=tool_mistakes,
        assignment=_ASSIGNMENTS[format],
        has_headers=format is AgentFormat.TOML,
        has_body=format is AgentFormat.MARKDOWN,
    )
    document = _with_body(document, body, report)
    spec = check_agent(document, surroundings, report)
    return ParsedAgent(spec=spec, warnings=report.warnings, digest=source_digest(source))


def _with_body(document: Document, body: str | None, report: Report) -> Document:
    if not body:
        return document
    if document.values.get("documentation"):
        flaw = Flaw(
            "is written twice: here and below the front matter",
            "contradiction",
            "Remove one of the two",
        )
        report.error(("documentation",), flaw)
        return document
    return replace(document, values={**document.values, "documentation": body})


def _unreadable(error: Unreadable, file: str | None) -> Rejected:
    place = Place(
        message=error.flaw.message,
        file=file,
        line=error.line,
        column=error.column,
        rule=error.flaw.rule,
        fix=error.flaw.fix,
    )
    return Rejected("invalid_agent", "The agent definition cannot be read", places=[place])
