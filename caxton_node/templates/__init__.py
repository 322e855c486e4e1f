"""Agents to begin with: the files that `caxton init` writes.

Each folder beside this module is one template. Its files are complete and valid as they stand;
the word `AGENT_NAME` in them becomes the name of the new agent.
"""

from caxton_node.templates.catalog import Template, instantiate, list_templates

__all__ = ["Template", "instantiate", "list_templates"]
