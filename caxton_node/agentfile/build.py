"""The last step: checked values, by their target, become an `AgentSpec`."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from caxton_node.agentfile.schema import Field
from caxton_node.domain.agent import (
    AgentKind,
    AgentSpec,
    BudgetSettings,
    DeploymentSettings,
    LimitSettings,
    LlmSettings,
    MemorySettings,
    PermissionSettings,
    ScheduleSettings,
    SupervisionSettings,
)
from caxton_node.domain.wasm import GrantSettings, WasmSettings

__all__ = ["build_spec", "default_of"]

_SECTIONS: Final[Mapping[str, type]] = {
    "llm": LlmSettings,
    "memory": MemorySettings,
    "budget": BudgetSettings,
    "supervision": SupervisionSettings,
    "limits": LimitSettings,
    "permissions": PermissionSettings,
    "deployment": DeploymentSettings,
    "schedule": ScheduleSettings,
    "wasm": WasmSettings,
    "grants": GrantSettings,
}


def default_of(field: Field) -> Any:
    """Return what the specification holds when a file does not mention a key; None for nothing."""
    section, _, name = (field.target or "").rpartition(".")
    owner = _SECTIONS.get(section, AgentSpec)
    default = next((one.default for one in fields(owner) if one.name == name), MISSING)
    return None if default is MISSING else default


def build_spec(values: Mapping[str, Any]) -> AgentSpec:
    """Return the specification with `values` by target and defaults for the rest."""
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        section, _, name = target.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[name] = value
    if "kind" in top:
        top["kind"] = AgentKind(top["kind"])
    return AgentSpec(
        **top, **{section: _SECTIONS[section](**rows) for section, rows in sections.items()}
    )
