"""Which templates there are, and a new agent's files from one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from caxton_node.agentfile import AgentFormat, parse_agent
from caxton_node.agentfile.rules import AgentName
from caxton_node.documents.document import shorten
from caxton_node.documents.nearest import nearest
from caxton_node.documents.readers import Flawed
from caxton_node.domain.errors import Place, Rejected

__all__ = ["Template", "instantiate", "list_templates"]

MARKER: Final = "AGENT_NAME"
"""Stands for the agent's name in a template. A valid name itself, so that the file parses."""

DEFINITION: Final = "agent.toml"


@dataclass(frozen=True, slots=True)
class Template:
    """A template, for people who choose one."""

    name: str
    description: str


def list_templates() -> tuple[Template, ...]:
    """Return all templates by name."""
    return tuple(
        Template(name, _description(folder)) for name, folder in sorted(_folders().items())
    )


def instantiate(template: str, *, agent_name: str) -> Mapping[str, str]:
    """Return the files of a new agent: their text by file name.

    Raises:
        Rejected: `invalid_request`, for an unknown template; `invalid_agent`, for a name that
            no agent can have.
    """
    folders = _folders()
    if template not in folders:
        near = nearest(template, folders)
        fix = f"Did you mean {near}?" if near else f"There are: {', '.join(sorted(folders))}"
        raise Rejected("invalid_request", f'There is no template "{shorten(template)}"', hint=fix)
    try:
        name = AgentName().read(agent_name)
    except Flawed as error:
        places = [
            Place(message=f"`name` {flaw.message}", field="name", rule=flaw.rule, fix=flaw.fix)
            for flaw in error.flaws
        ]
        raise Rejected("invalid_agent", "The agent cannot have this name", places=places) from None
    return {
        file.name: file.read_text(encoding="utf-8").replace(MARKER, name)
        for file in sorted(folders[template].iterdir(), key=lambda one: one.name)
    }


def _folders() -> dict[str, Traversable]:
    return {
        folder.name: folder
        for folder in files("caxton_node.templates").iterdir()
        if folder.is_dir() and folder.joinpath(DEFINITION).is_file()
    }


def _description(folder: Traversable) -> str:
    source = folder.joinpath(DEFINITION).read_text(encoding="utf-8")
    return parse_agent(source, format=AgentFormat.TOML, file=folder.name).spec.description
