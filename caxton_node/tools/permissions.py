"""May this agent call this tool? Decided on values alone, and *no* where there is doubt.

A tool that an agent's file does not list is not its tool, whatever a model asks for. A tool
under `permissions.approvals` waits for a person; as long as no person can be asked, it is
refused.
"""

from collections.abc import Collection
from dataclasses import dataclass

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.errors import Denied

__all__ = ["Permitted", "Refused", "decide_permission", "needs_approval"]


@dataclass(frozen=True, slots=True)
class Permitted:
    """The call may be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The call may not be made, and why."""

    tool: str
    detail: str
    hint: str

    def error(self) -> Denied:
        """Return the error that ends the turn."""
        return Denied("tool_denied", self.detail, hint=self.hint, facts={"tool": self.tool})


def decide_permission(
    tool: str, *, agent: str, listed: Collection[str], permissions: PermissionSettings
) -> Permitted | Refused:
    """Decide whether `agent` may call `tool`.

    Args:
        tool: As the model named it.
        agent: Who asks, for the text of a refusal.
        listed: The tools of the agent's file.
        permissions: Its `[permissions]`.
    """
    if tool not in listed:
        return Refused(
            tool=tool,
            detail=f"{agent} may not call {tool!r}: its file does not list that tool.",
            hint=f"Add {tool!r} to `tools` in the agent's file and deploy it again.",
        )
    if needs_approval(tool, permissions):
        return Refused(
            tool=tool,
            detail=f"{tool!r} needs a person's approval for {agent}, and nobody can be asked.",
            hint="Take it out of `permissions.approvals` to let the agent call it unasked.",
        )
    return Permitted()


def needs_approval(tool: str, permissions: PermissionSettings) -> bool:
    """Whether a person must agree first. `*` at the end of an entry matches any rest.

    Case does not matter: an entry that was written `File_Storage` was meant to stop it.
    """
    name = tool.casefold()
    for entry in permissions.approvals:
        pattern = entry.strip().casefold()
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return True
    return False
