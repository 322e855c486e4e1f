"""Agents from files: text in, a checked `AgentSpec` or every mistake in it out.

The one table of fields is `schema`; everything else follows from it: what is read, what is
refused, what is suggested, and the reference in the docs. Pure: the caller reads the file,
supplies the environment and names the tools there are.
"""

from caxton_node.agentfile.parse import (
    AgentFormat,
    ParsedAgent,
    detect_format,
    parse_agent,
    source_digest,
)

__all__ = ["AgentFormat", "ParsedAgent", "detect_format", "parse_agent", "source_digest"]
